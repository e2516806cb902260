"""Who gets in: the key in its header, nothing else."""

from collections.abc import Iterator

from knouds_harness.exchange.evidence import KEY_HEADER, Exchange
from knouds_harness.judging.checks.envelopes.refusals import refused_alike
from knouds_harness.judging.claim import Claim, answer, check, code_is, nothing_more, status_is
from knouds_harness.judging.context import Case
from knouds_harness.targets.needs.keys import ANY_KEY, LEGACY_KEY, REVOKED_KEY, UNAPPROVED_KEY
from knouds_harness.targets.personas import Secret

KEY_PREFIX = "knouds_live_"
_PLAIN_401_FACTS = ("auth.before-capability", "auth.plain-401-code")


def _plain_401(exchange: Exchange, fact: str) -> Iterator[Claim]:
    if exchange.code == "CAPABILITY_DENIED":
        yield Claim(
            fact="auth.before-capability",
            holds=False,
            expected="401, as the key is judged before its capabilities",
            observed=answer(exchange),
        )
        return
    yield Claim(fact="auth.before-capability", holds=True, expected="a key judged first", observed="")
    yield status_is(exchange, 401, fact=fact)
    if exchange.status == 401 and exchange.code is not None:
        yield code_is(exchange, "UNAUTHORIZED", fact="auth.plain-401-code")


@check(
    "auth.key-in-x-api-key",
    needs=(ANY_KEY,),
    applies=lambda case: case.key_state == "active",
    alone=nothing_more,
)
def key_is_accepted(exchange: Exchange) -> Iterator[Claim]:
    """A valid key in the x-api-key header authenticates."""
    yield Claim(
        fact="auth.key-in-x-api-key",
        holds=exchange.status != 401,
        expected="any answer but 401",
        observed=answer(exchange),
    )


@check("auth.missing-key-is-401", *_PLAIN_401_FACTS, applies=lambda case: case.key_sent == "missing")
def missing_key(exchange: Exchange) -> Iterator[Claim]:
    """A request without a key is refused."""
    yield from _plain_401(exchange, "auth.missing-key-is-401")


@check("auth.empty-key-is-401", *_PLAIN_401_FACTS, applies=lambda case: case.key_sent == "empty")
def empty_key(exchange: Exchange) -> Iterator[Claim]:
    """An empty key is refused."""
    yield from _plain_401(exchange, "auth.empty-key-is-401")


@check("auth.malformed-key-is-401", *_PLAIN_401_FACTS, applies=lambda case: case.key_sent == "malformed")
def malformed_key(exchange: Exchange) -> Iterator[Claim]:
    """A malformed key is refused."""
    yield from _plain_401(exchange, "auth.malformed-key-is-401")


@check("auth.unknown-key-is-401", *_PLAIN_401_FACTS, applies=lambda case: case.key_sent == "unknown")
def unknown_key(exchange: Exchange) -> Iterator[Claim]:
    """A well-formed unknown key is refused, before its capabilities are looked at."""
    yield from _plain_401(exchange, "auth.unknown-key-is-401")


@check(
    "auth.altered-key-is-401",
    *_PLAIN_401_FACTS,
    needs=(ANY_KEY,),
    applies=lambda case: case.key_sent == "altered",
)
def altered_key(exchange: Exchange) -> Iterator[Claim]:
    """A valid key in another case, shortened or lengthened, is refused."""
    yield from _plain_401(exchange, "auth.altered-key-is-401")


@check("auth.refusal-tells-nothing", given=("of_existing",))
def tells_nothing(exchange: Exchange, *, of_existing: Exchange) -> Iterator[Claim]:
    """Without a valid key, the response is the same whether or not the resource exists."""
    yield from refused_alike(exchange, of_existing=of_existing, fact="auth.refusal-tells-nothing")


@check(
    "auth.revoked-key-is-401",
    *_PLAIN_401_FACTS,
    needs=(REVOKED_KEY,),
    applies=lambda case: case.key_state == "revoked",
)
def revoked_key(exchange: Exchange) -> Iterator[Claim]:
    """A revoked key is refused."""
    yield from _plain_401(exchange, "auth.revoked-key-is-401")


@check("auth.legacy-key-is-401-retired", needs=(LEGACY_KEY,), applies=lambda case: case.key_state == "legacy")
def legacy_key(exchange: Exchange) -> Iterator[Claim]:
    """A key made before May 2026 is refused as retired."""
    yield status_is(exchange, 401, fact="auth.legacy-key-is-401-retired")
    if exchange.status == 401:
        yield code_is(exchange, "LEGACY_KEY_RETIRED", fact="auth.legacy-key-is-401-retired")


@check(
    "auth.unapproved-account-is-401",
    *_PLAIN_401_FACTS,
    needs=(UNAPPROVED_KEY,),
    applies=lambda case: case.key_state == "unapproved",
)
def unapproved_account(exchange: Exchange) -> Iterator[Claim]:
    """A valid key of an account not yet approved is refused."""
    yield from _plain_401(exchange, "auth.unapproved-account-is-401")


@check(
    "auth.bearer-is-not-accepted",
    *_PLAIN_401_FACTS,
    needs=(ANY_KEY,),
    applies=lambda case: case.key_sent == "bearer",
)
def bearer(exchange: Exchange) -> Iterator[Claim]:
    """A key in Authorization: Bearer does not authenticate."""
    yield from _plain_401(exchange, "auth.bearer-is-not-accepted")


@check(
    "auth.query-key-is-not-accepted",
    *_PLAIN_401_FACTS,
    needs=(ANY_KEY,),
    applies=lambda case: case.key_sent == "query",
)
def key_in_query(exchange: Exchange) -> Iterator[Claim]:
    """A key in the query string does not authenticate."""
    yield from _plain_401(exchange, "auth.query-key-is-not-accepted")


def _is_public_without_key(case: Case) -> bool:
    is_public = case.operation is not None and case.operation.is_public
    return is_public and case.context.is_ours and case.is_answered and KEY_HEADER not in case.sent_headers


def _is_session_only(case: Case) -> bool:
    paths = case.context.document.session_only_paths
    return case.context.is_ours and case.is_answered and case.exchange.request.path in paths


@check("auth.public-operations-need-no-key", applies=_is_public_without_key)
def public_operation(exchange: Exchange) -> Iterator[Claim]:
    """A public operation answers without a key."""
    yield Claim(
        fact="auth.public-operations-need-no-key",
        holds=exchange.status not in (401, 403),
        expected="a response without a key",
        observed=answer(exchange),
    )


@check(
    "auth.session-paths-refuse-keys", "auth.session-path-status", needs=(ANY_KEY,), applies=_is_session_only
)
def session_only_path(exchange: Exchange) -> Iterator[Claim]:
    """A session-only path refuses every key."""
    status = exchange.status or 0
    yield Claim(
        fact="auth.session-paths-refuse-keys",
        holds=400 <= status < 500,
        expected="a refusal, never a 2xx or 5xx",
        observed=answer(exchange),
    )
    if 400 <= status < 500:
        yield status_is(exchange, 401, 403, 404, fact="auth.session-path-status")


@check("auth.keys-begin-with-prefix", needs=(ANY_KEY,), given=("secret",))
def key_prefix(exchange: Exchange, *, secret: Secret) -> Iterator[Claim]:
    """A key that works begins with the documented prefix."""
    if exchange.status == 200:
        yield Claim(
            fact="auth.keys-begin-with-prefix",
            holds=secret.reveal().startswith(KEY_PREFIX),
            expected=f"a key that begins with {KEY_PREFIX}",
            observed="a key that begins otherwise",
        )


@check(
    "whoami.is-the-key-owner",
    needs=(ANY_KEY,),
    given=("tier", "role", "others", "user"),
    applies=lambda case: case.operation_id == "getWhoami" and case.key_state == "active",
    alone=lambda _: {"others": {}},
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
    yield Claim(
        fact="whoami.is-the-key-owner",
        holds=account.get("tier") == tier,
        expected=f"tier {tier}, as the profile says of this key",
        observed=f"tier {account.get('tier')}",
        where="/user/tier",
    )
    if account.get("role") in ("user", "admin"):  # any other is not a role
        yield Claim(
            fact="whoami.is-the-key-owner",
            holds=account["role"] == role,
            expected=f"role {role}, as the profile says of this key",
            observed=f"role {account['role']}",
            where="/user/role",
        )
    same_user = {name for name, known_id in others.items() if known_id == account.get("id")}
    yield Claim(
        fact="whoami.is-the-key-owner",
        holds=same_user <= {user} and others.get(user, account.get("id")) == account.get("id"),
        expected="one id for each account, and one account for each id",
        observed=f"the id of {', '.join(sorted(same_user - {user})) or 'another account'}",
        where="/user/id",
    )
