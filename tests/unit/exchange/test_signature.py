"""Signatures of deliveries: what was signed verifies, and nothing else."""

import hashlib
import hmac

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.exchange.signature import Signature, SignatureRefused, sign, verify

SECRET = "whsec_0123456789abcdef"
DIGEST = "0" * 64


def secrets():
    return st.text(st.characters(exclude_categories=["Cs"]), min_size=16, max_size=256)


def instants():
    return st.integers(0, 2**40)


@given(secret=secrets(), body=st.binary(), sent=instants(), drift=st.integers(-300, 300))
@example(secret="s" * 16, body=b"", sent=300, drift=300)  # the window includes its edge
@example(secret="s" * 16, body=b"", sent=300, drift=-300)
def test_fresh_delivery_is_accepted(secret, body, sent, drift):
    header = sign(body, secret=secret, at_unix_s=sent)

    verify(body, header, secret=secret, now_unix_s=sent + drift)


@given(body=st.binary(), sent=instants(), drift=st.integers(301, 10**9), is_early=st.booleans())
@example(body=b"", sent=0, drift=301, is_early=False)
def test_stale_delivery_is_refused(body, sent, drift, is_early):
    header = sign(body, secret=SECRET, at_unix_s=sent)

    with pytest.raises(SignatureRefused, match="away from now"):
        verify(body, header, secret=SECRET, now_unix_s=sent - drift if is_early else sent + drift)


@given(body=st.binary(min_size=1), place=st.integers(0), flip=st.integers(1, 255))
def test_altered_body_is_refused(body, place, flip):
    header = sign(body, secret=SECRET, at_unix_s=0)
    altered = bytearray(body)
    altered[place % len(body)] ^= flip

    with pytest.raises(SignatureRefused, match="does not match"):
        verify(bytes(altered), header, secret=SECRET, now_unix_s=0)


@given(body=st.binary(), sent=instants(), other=secrets())
def test_other_secret_is_refused(body, sent, other):
    header = sign(body, secret=SECRET, at_unix_s=sent)

    with pytest.raises(SignatureRefused, match="does not match"):
        verify(body, header, secret=other + SECRET, now_unix_s=sent)


@given(body=st.binary(), sent=st.integers(1, 10**9))
def test_time_is_signed_too(body, sent):
    """A signature is not valid for another time, nor can the dot be moved into the body."""
    digest = sign(body, secret=SECRET, at_unix_s=sent).partition(",")[2]

    with pytest.raises(SignatureRefused, match="does not match"):
        verify(body, f"t={sent - 1},{digest}", secret=SECRET, now_unix_s=sent)


def test_signature_follows_the_documented_formula():
    digest = hmac.digest(SECRET.encode(), b'1795000000.{"event":"webhook.test"}', hashlib.sha256).hex()

    assert sign(b'{"event":"webhook.test"}', secret=SECRET, at_unix_s=1795000000) == (
        f"t=1795000000,v1={digest}"
    )


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"v1={DIGEST}",
        f"v1={DIGEST},t=1",
        "t=1",
        f"t=,v1={DIGEST}",
        f"t=1.5,v1={DIGEST}",
        f"t=-1,v1={DIGEST}",
        f"t=01,v1={DIGEST}",
        f"t=\u0661,v1={DIGEST}",
        f"t=1, v1={DIGEST}",
        f"t=1;v1={DIGEST}",
        f"t=1,v1={DIGEST[:-1]}",
        f"t=1,v1={DIGEST}0",
        f"t=1,v1={'g' * 64}",
        f"t=1,v1={DIGEST}\n",
        f"T=1,V1={DIGEST}",
    ],
)
def test_undocumented_forms_are_refused(header):
    with pytest.raises(SignatureRefused, match="is not t="):
        verify(b"", header, secret=SECRET, now_unix_s=1)


@pytest.mark.parametrize("header", [f"t=1,v1={DIGEST}", f"t=1,v1={'F' * 64}", f"t=1,v1={DIGEST},v2=abc"])
def test_documented_forms_are_read(header):
    """Hexadecimal in either case; further parts may be new."""
    assert Signature.read(header) is not None
