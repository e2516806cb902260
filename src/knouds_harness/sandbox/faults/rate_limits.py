"""Faults: rate limits."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "rate.headers-on-success": {
        "rate-headers-left-out": "The rate-limit headers are left out.",
        "rate-reset-left-out": "X-RateLimit-Reset is left out.",
    },
    "rate.headers-are-integers": {
        "rate-reset-in-ms": Subtle("X-RateLimit-Reset is in milliseconds."),
        "rate-limit-with-unit": "X-RateLimit-Limit carries a window.",
    },
    "rate.remaining-falls": {
        "rate-remaining-stands-still": "X-RateLimit-Remaining never falls.",
        "rate-remaining-sticks-at-tens": Subtle("X-RateLimit-Remaining does not fall at each tenth request."),
    },
    "rate.window-is-fixed-60-s": {
        "rate-window-is-an-hour": "The window is an hour long.",
        "rate-window-is-half-a-minute": Subtle("The window is 30 s long."),
        "rate-window-slides": Subtle(
            "Each request counts for 60 s from when it came, whatever window it is in."
        ),
        "rate-reset-slides": Subtle("X-RateLimit-Reset is always 60 s from now."),
    },
    "rate.over-limit-is-429": {
        "rate-one-too-many": Subtle("One request over the limit goes through."),
        "rate-refusal-is-503": "A request over the limit is a 503.",
        "rate-refusal-has-other-code": "The code over the limit is TOO_MANY_REQUESTS.",
        "rate-simultaneous-uncounted": Subtle("Requests at once count as one."),
    },
    "rate.refusal-fields": {
        "rate-refusal-lacks-tier": "A 429 has no tier.",
    },
    "rate.refusal-headers": {
        "rate-refusal-lacks-retry-after": "A 429 has no Retry-After.",
    },
    "rate.body-and-headers-agree": {
        "rate-refusal-in-ms": Subtle("retryAfter is in milliseconds."),
        "rate-refusal-tells-other-limit": Subtle(
            "The limit in the body of a 429 is one more than in its headers."
        ),
        "rate-retry-after-is-half": Subtle("Retry-After is half of retryAfter."),
    },
    "rate.per-user-not-per-key": {
        "rate-counted-per-key": Subtle("Each key has a bucket of its own."),
    },
    "rate.separate-per-route": {
        "rate-shared-by-routes": Subtle("The two run endpoints share a bucket."),
    },
}
