"""Faults: who is let in: keys, whoami, what a tier grants."""

from __future__ import annotations

from knouds_harness.sandbox.faults.table import Subtle, Table

FAULTS: Table = {
    "auth.key-in-x-api-key": {
        "auth-valid-key-refused": "Usage models refuses every key.",
    },
    "auth.missing-key-is-401": {
        "auth-missing-key-accepted": "A request without a key acts as the enterprise account.",
        "auth-missing-key-sees-usage": Subtle("Usage alone answers without a key."),
        "auth-missing-key-is-403": "A request without a key is a 403.",
    },
    "auth.before-capability": {
        "auth-missing-key-is-denied": "A request without a key is refused for a capability.",
    },
    "auth.empty-key-is-401": {
        "auth-empty-key-accepted": "An empty key acts as the enterprise account.",
    },
    "auth.malformed-key-is-401": {
        "auth-malformed-key-accepted": "A key without the prefix acts as the enterprise account.",
    },
    "auth.unknown-key-is-401": {
        "auth-unknown-key-accepted": "A well-formed key that nobody holds acts as the enterprise account.",
        "auth-unknown-key-is-403": "A key that nobody holds is a 403.",
    },
    "auth.altered-key-is-401": {
        "auth-key-case-ignored": Subtle("Keys are compared without regard to case."),
        "auth-cut-key-accepted": Subtle("The beginning of a key is taken for the key."),
        "auth-prolonged-key-accepted": Subtle("A key with something appended is taken for the key."),
        "auth-last-character-ignored": Subtle("The last character of a key does not matter."),
    },
    "auth.revoked-key-is-401": {
        "auth-revoked-accepted": "A revoked key still works.",
        "auth-revoked-still-polls": Subtle("A revoked key still polls executions."),
        "auth-revoked-is-403": "A revoked key is a 403.",
        "auth-revoked-still-lists-models": Subtle("A revoked key still lists the models of its usage."),
    },
    "auth.legacy-key-is-401-retired": {
        "auth-legacy-accepted": "A key made before May 2026 still works.",
        "auth-legacy-is-plain-401": "A key made before May 2026 gets the plain 401.",
        "auth-legacy-still-cancels": Subtle("A key made before May 2026 still cancels executions."),
    },
    "auth.unapproved-account-is-401": {
        "auth-unapproved-accepted": "A key of an account not yet approved works.",
        "auth-unapproved-is-403": "A key of an account not yet approved is a 403.",
        "auth-unapproved-asks-whoami": Subtle("A key of an account not yet approved may ask whoami."),
    },
    "auth.bearer-is-not-accepted": {
        "auth-bearer-accepted": "A key in Authorization: Bearer works.",
        "auth-bearer-shows-usage": Subtle("A key in Authorization: Bearer shows usage, and nothing else."),
    },
    "auth.query-key-is-not-accepted": {
        "auth-query-key-accepted": "A key in the query string works.",
        "auth-query-key-polls": Subtle("A key in the query string polls executions, and nothing else."),
    },
    "auth.session-paths-refuse-keys": {
        "auth-session-me-open": "/api/me answers any key.",
        "auth-session-credits-open": "/api/credits/* answers any key.",
        "auth-session-keys-open-to-star": Subtle("/api/api-keys/* answers a key that holds *."),
        "auth-session-admin-open": Subtle("/api/business/admin/* answers an administrator's key."),
    },
    "auth.public-operations-need-no-key": {
        "auth-public-schema-needs-key": "The public schema wants a key.",
        "auth-pricing-needs-key": "Public pricing wants a key.",
        "auth-health-needs-key": "Health wants a key.",
    },
    "whoami.user-object": {
        "whoami-without-user-object": "whoami answers the user's members at the top.",
        "whoami-lacks-email": "The user has no email.",
        "whoami-lacks-email-without-capabilities": Subtle("A key without capabilities is shown no email."),
    },
    "whoami.role-closed": {
        "whoami-role-in-capitals": "role is in capitals.",
        "whoami-role-is-owner": "role is owner.",
        "whoami-admin-is-superuser": Subtle("The role of an administrator is superuser."),
    },
    "whoami.tier-is-string": {
        "whoami-tier-as-number": "tier is a number.",
        "whoami-tier-in-object": "tier is an object.",
    },
    "whoami.approved-is-true": {
        "whoami-approved-as-text": "approved is a text.",
    },
    "whoami.is-the-key-owner": {
        "whoami-describes-another": "whoami describes someone else.",
        "whoami-admin-is-user": "whoami says of an administrator that it is a user.",
        "whoami-second-key-describes-another": Subtle(
            "The second key of an account is said to be someone else's."
        ),
    },
    "tier.rate-limit-pro": {
        "tier-pro-limit-is-60": "A pro account is held to 60 requests.",
        "tier-pro-limit-is-99": Subtle("A pro account is held to 99 requests."),
    },
    "tier.rate-limit-business": {
        "tier-business-limit-is-100": "A business account is held to 100 requests.",
    },
    "tier.rate-limit-enterprise": {
        "tier-enterprise-is-limited": "An enterprise account is held to 1,000 requests.",
    },
    "tier.admin-bypasses-gates": {
        "tier-admin-is-limited": "An administrator is held to 100 requests.",
        "tier-gate-holds-administrators": Subtle("Administrators are under the tier of every model."),
    },
}
