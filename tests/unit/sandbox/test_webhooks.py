"""The signature of a delivery."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from knouds_sandbox.webhooks import sign


@given(body=st.binary(), secret=st.text(min_size=16, max_size=64), at_unix_s=st.integers(0, 2**40))
def test_signature_covers_time_and_raw_body(body, secret, at_unix_s):
    """``t`` and an HMAC-SHA256 over ``<t>.<raw body>``."""
    time_part, _, digest_part = sign(body, secret=secret, at_unix_s=at_unix_s).partition(",")

    expected = hmac.digest(secret.encode(), b"%d." % at_unix_s + body, hashlib.sha256).hex()
    assert (time_part, digest_part) == (f"t={at_unix_s}", f"v1={expected}")
