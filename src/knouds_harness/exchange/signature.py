"""Make, read and verify signatures of webhook deliveries.

Source: docs, webhooks. ``X-Knouds-Signature: t=<unix seconds>,v1=<hex>`` with v1 = HMAC-SHA256(secret,
``<t>.<raw body>``); refuse a delivery signed more than 300 s from now; compare in constant time.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final, Self

HEADER: Final = "X-Knouds-Signature"
WINDOW_S: Final = 300

# Further parts may be appended, which is additive; t and v1 come first, as documented.
_FORM = re.compile(r"t=(0|[1-9][0-9]{0,18}),v1=([0-9a-fA-F]{64})(?:,\w+=[^,\s]*)*", re.ASCII)


class SignatureRefused(ValueError):
    """A delivery must not be trusted; the message says why, without a secret."""


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The parts of the signature header."""

    at_unix_s: int
    digest: str

    @classmethod
    def read(cls, header: str) -> Self | None:
        """Read a header; return None if it does not have the documented form."""
        found = _FORM.fullmatch(header)
        return cls(at_unix_s=int(found[1]), digest=found[2].lower()) if found else None

    def covers(self, body: bytes, *, secret: str) -> bool:
        """Return whether it is the signature of these bytes with this secret; compares in constant time."""
        return hmac.compare_digest(self.digest, _digest(body, secret=secret, at_unix_s=self.at_unix_s))

    def is_fresh(self, now_unix_s: float) -> bool:
        """Return whether it was signed at most 300 s before or after now."""
        return abs(now_unix_s - self.at_unix_s) <= WINDOW_S


def sign(body: bytes, *, secret: str, at_unix_s: int) -> str:
    """Return the header's value for a raw body signed at ``at_unix_s``."""
    return f"t={at_unix_s},v1={_digest(body, secret=secret, at_unix_s=at_unix_s)}"


def verify(body: bytes, header: str, *, secret: str, now_unix_s: float) -> None:
    """Verify the signature of a delivery.

    Raises:
        SignatureRefused: The header is malformed, too old or too new, or does not match the body.
    """
    signature = Signature.read(header)
    if signature is None:
        raise SignatureRefused(f"{HEADER} is not t=<unix seconds>,v1=<hex>")
    if not signature.is_fresh(now_unix_s):
        raise SignatureRefused(f"{HEADER} is more than {WINDOW_S} s away from now")
    if not signature.covers(body, secret=secret):
        raise SignatureRefused(f"{HEADER} does not match the body and the secret")


def _digest(body: bytes, *, secret: str, at_unix_s: int) -> str:
    return hmac.new(secret.encode(), f"{at_unix_s}.".encode() + body, hashlib.sha256).hexdigest()
