"""Signatures of webhook deliveries: made, read and verified.

Source: docs, webhooks. ``X-Knouds-Signature: t=<unix seconds>,v1=<hex>`` with v1 = HMAC-SHA256(secret,
``<t>.<raw body>``); refuse what is more than 300 s away from now; compare in constant time.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Self

HEADER: Final = "X-Knouds-Signature"
WINDOW_S: Final = 300

# What may be appended later is additive; t and v1 come first, as documented.
_FORM = re.compile(r"t=(0|[1-9][0-9]{0,18}),v1=([0-9a-fA-F]{64})(?:,\w+=[^,\s]*)*", re.ASCII)


class SignatureRefused(ValueError):
    """A delivery that must not be believed; says why, and shows no secret."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """What the header says.

    Attributes:
        at_unix_s: When it was signed, as the text after ``t=`` says.
    """

    at_unix_s: int
    digest: str

    @classmethod
    def read(cls, header: str) -> Self | None:
        """Read a header; None where it does not have the documented form."""
        found = _FORM.fullmatch(header)
        return cls(at_unix_s=int(found[1]), digest=found[2].lower()) if found else None

    def covers(self, body: bytes, *, secret: str) -> bool:
        """Whether it was made of these very bytes and this secret; compared in constant time."""
        return hmac.compare_digest(self.digest, _digest(body, secret=secret, at_unix_s=self.at_unix_s))

    def is_fresh(self, now_unix_s: float) -> bool:
        """Whether it was made within 300 s of now, before or after."""
        return abs(now_unix_s - self.at_unix_s) <= WINDOW_S


def sign(body: bytes, *, secret: str, at_unix_s: int) -> str:
    """The header's value for a raw body, signed at an instant."""
    return f"t={at_unix_s},v1={_digest(body, secret=secret, at_unix_s=at_unix_s)}"


def verify(body: bytes, header: str, *, secret: str, now_unix_s: float) -> None:
    """Believe a delivery, or refuse it.

    Raises:
        SignatureRefused: The header has another form, is too old or too new, or does not fit the body.
    """
    signature = Signature.read(header)
    if signature is None:
        raise SignatureRefused(f"{HEADER} is not t=<unix seconds>,v1=<hex>")
    if not signature.is_fresh(now_unix_s):
        raise SignatureRefused(f"{HEADER} is more than {WINDOW_S} s away from now")
    if not signature.covers(body, secret=secret):
        raise SignatureRefused(f"{HEADER} does not fit the body and the secret")


def _digest(body: bytes, *, secret: str, at_unix_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_unix_s}.".encode() + body, hashlib.sha256).hexdigest()
