"""Who gets in: the key in its header, nothing else."""

from collections.abc import Iterator

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.judging.checks.envelopes import refused_alike
from knouds_harness.judging.claim import Claim, admitting, by_rule, check
from knouds_harness.judging.rule import reasons
from knouds_harness.targets.needs.keys import ANY_KEY, LEGACY_KEY, REVOKED_KEY, UNAPPROVED_KEY
from knouds_harness.targets.secrets import Secret

KEY_PREFIX = "knouds_live_"

key_is_accepted = admitting("authentication.key-is-accepted", "auth.key-in-x-api-key", needs=(ANY_KEY,))
missing_key = by_rule(reasons.MISSING_KEY)
empty_key = by_rule(reasons.EMPTY_KEY)
malformed_key = by_rule(reasons.MALFORMED_KEY)
unknown_key = by_rule(reasons.UNKNOWN_KEY)
altered_key = by_rule(reasons.ALTERED_KEY, ANY_KEY)


@check("auth.refusal-tells-nothing")
def tells_nothing(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """Without a valid key, the response is the same whether or not the resource exists."""
    yield from refused_alike(exchange, of_existing=of_existing)


revoked_key = by_rule(reasons.REVOKED_KEY, REVOKED_KEY)
legacy_key = by_rule(reasons.LEGACY_KEY, LEGACY_KEY)
unapproved_account = by_rule(reasons.UNAPPROVED_ACCOUNT, UNAPPROVED_KEY)
bearer = by_rule(reasons.BEARER, ANY_KEY)
key_in_query = by_rule(reasons.KEY_IN_QUERY, ANY_KEY)
public_operation = admitting("authentication.public-operation", "auth.public-operations-need-no-key")
session_only_path = by_rule(reasons.SESSION_ONLY, ANY_KEY)


@check("auth.keys-begin-with-prefix", needs=(ANY_KEY,))
def key_prefix(exchange: Exchange, *, secret: Secret) -> Iterator[Claim]:
    """A key that works begins with the documented prefix."""
    if exchange.status == 200:
        expected, holds = f"a key that begins with {KEY_PREFIX}", secret.reveal().startswith(KEY_PREFIX)
        yield Claim(expected, "a key that begins otherwise", holds=holds)


@check(
    "whoami.is-the-key-owner",
    needs=(ANY_KEY,),
    applies=lambda case: case.operation_id == "getWhoami" and case.key_state == "active",
    if_unknown=lambda _: {"others": {}},
)
def whoami_owner(
    exchange: Exchange, *, tier: str, role: str, others: dict[str, str], user: str
) -> Iterator[Claim]:
    """Whoami describes the account that the key belongs to.

    ``others`` maps the profile's user names to the ids in earlier responses.
    """
    account = exchange.members.get("user")
    if exchange.status != 200 or not isinstance(account, dict):
        return
    for name, known in (("tier", tier), ("role", role)):
        if name == "tier" or account.get("role") in ("user", "admin"):  # any other is not a role
            shown, expected = account.get(name), f"{name} {known}, as the profile says of this key"
            yield Claim(expected, f"{name} {shown}", holds=shown == known, where=f"/user/{name}")
    same_user = {name for name, known_id in others.items() if known_id == account.get("id")}
    holds = same_user <= {user} and others.get(user, account.get("id")) == account.get("id")
    observed = f"the id of {', '.join(sorted(same_user - {user})) or 'another account'}"
    expected = "one id for each account, and one account for each id"
    yield Claim(expected, observed, holds=holds, where="/user/id")
