"""Who gets in.

A request that must be refused is valid and names a resource that exists, if the profile offers one, so that
nothing but the key is wrong; what it would write to is there for that.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knouds_harness.exchange.effectless_requests import effectless_call
from knouds_harness.judging.checks import authentication
from knouds_harness.judging.checks.envelopes import form
from knouds_harness.suite.generation.strategies import (
    altered_keys,
    key_alterations,
    malformed_keys,
    unknown_keys,
)
from knouds_harness.suite.selection import operations_for
from knouds_harness.targets.needs.keys import ANY_KEY, LEGACY_KEY, REVOKED_KEY, UNAPPROVED_KEY
from knouds_harness.targets.needs.workflows import subject_account
from knouds_harness.targets.personas import Secret

pytestmark = pytest.mark.independent

secured = pytest.mark.operations(secured=True)

RECORDED_WITH_LEGACY_KEY = (
    "getWhoami",
    "listWorkflows",
    "runWorkflow",
    "runModel",
    "getExecution",
    "listUsage",
)
NOBODYS_KEY = Secret(f"knouds_live_{'0a' * 21}0", "key:unknown")


def recorded_of_all(outcome):
    """Parametrize over operations that need a key, and have the outcome of each recorded."""
    names = {each.id: outcome for each in operations_for(secured=True, ids=None)}
    return pytest.mark.operations(secured=True, records=names)


def recorded_of_whoami(outcome):
    """Parametrize over operations that need a key, and have the outcome of one recorded."""
    return pytest.mark.operations(secured=True, records={"getWhoami": outcome})


def knock(tester, subjects, operation, *, persona=None, key=None, **changes):
    """Send what would succeed with a good key; what a server creates all the same is deleted in the end."""
    call = subjects.call_without_key(operation).having(**changes)
    return tester.send(operation.id, persona, call, key=key)


@secured
@pytest.mark.proves(authentication.key_is_accepted)
def test_valid_key_is_accepted(tester, operation):
    """A valid key in the x-api-key header authenticates."""
    tester.send(operation.id, tester.need(ANY_KEY), effectless_call(operation))


@recorded_of_all("no-key")
@pytest.mark.proves(authentication.missing_key, form.envelope)
@pytest.mark.shows("envelope.plain-401-has-code")
def test_missing_key_is_refused(tester, subjects, operation):
    """A request without a key is refused."""
    knock(tester, subjects, operation)


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(each, id=each.id, marks=pytest.mark.needs(subject_account(each)))
        for each in operations_for(secured=True, ids=None)
        if each.path_parameters
    ],
)
@pytest.mark.proves(authentication.tells_nothing, authentication.missing_key, authentication.unknown_key)
def test_refusal_tells_nothing(tester, subjects, operation):
    """Without a key, or with a wrong one, what does not exist is refused as what exists is."""
    call = subjects.call_on_existing(operation)
    unknown_call = call.having(path_values=effectless_call(operation).path_values)

    for key in (None, NOBODYS_KEY):
        known, unknown = (tester.send(operation.id, None, each, key=key) for each in (call, unknown_call))
        tester.judge(authentication.tells_nothing, unknown, of_existing=known)


@recorded_of_whoami("empty-key")
@pytest.mark.proves(authentication.empty_key)
def test_empty_key_is_refused(tester, subjects, operation):
    """An empty key is refused."""
    knock(tester, subjects, operation, key=Secret("", "key:empty"))


@recorded_of_whoami("revoked")
@pytest.mark.proves(authentication.revoked_key)
def test_revoked_key_is_refused(tester, subjects, operation):
    """A revoked key is refused."""
    knock(tester, subjects, operation, persona=tester.need(REVOKED_KEY))


@pytest.mark.operations(secured=True, records=dict.fromkeys(RECORDED_WITH_LEGACY_KEY, "legacy"))
@pytest.mark.proves(authentication.legacy_key)
def test_legacy_key_is_refused_as_retired(tester, subjects, operation):
    """A key made before May 2026 is refused as retired."""
    knock(tester, subjects, operation, persona=tester.need(LEGACY_KEY))


@recorded_of_whoami("unapproved")
@pytest.mark.proves(authentication.unapproved_account)
def test_key_of_unapproved_account_is_refused(tester, subjects, operation):
    """A valid key of an account not yet approved is refused."""
    knock(tester, subjects, operation, persona=tester.need(UNAPPROVED_KEY))


@recorded_of_whoami("bearer")
@pytest.mark.proves(authentication.bearer)
def test_bearer_token_is_refused(tester, subjects, operation):
    """A key in Authorization: Bearer does not authenticate."""
    key = tester.need(ANY_KEY).secret.reveal()

    knock(tester, subjects, operation, headers=(("authorization", f"Bearer {key}"),))


@recorded_of_whoami("key-in-query")
@pytest.mark.parametrize("parameter", ["x-api-key", "api_key"])
@pytest.mark.proves(authentication.key_in_query)
def test_key_in_query_is_refused(tester, subjects, operation, parameter):
    """A key in the query string does not authenticate."""
    key = tester.need(ANY_KEY).secret.reveal()

    knock(tester, subjects, operation, query=((parameter, key),))


@pytest.mark.proves(authentication.unknown_key)
@pytest.mark.records("getWhoami-unknown-key")
def test_key_that_nobody_holds_is_refused(tester, subjects, document):
    """A well-formed key that nobody holds is refused."""
    knock(tester, subjects, document.operation_by_id["getWhoami"], key=NOBODYS_KEY)


@pytest.mark.proves(authentication.unknown_key)
@given(data=st.data(), key=unknown_keys())
def test_unknown_key_is_refused(tester, subjects, data, key):
    """A well-formed unknown key is refused, before its capabilities are looked at."""
    operation = data.draw(
        st.sampled_from([each for each in tester.document.operations if not each.is_public])
    )

    exchange = knock(tester, subjects, operation, key=key)

    assert not tester.findings_about(exchange)


@recorded_of_whoami("malformed-key")
@pytest.mark.proves(authentication.malformed_key)
@pytest.mark.parametrize("key", ["knouds_live_", "null", "' OR '1'='1"])
def test_malformed_key_is_refused(tester, subjects, operation, key):
    """A key that does not look like one is refused."""
    knock(tester, subjects, operation, key=Secret(key, "key:malformed"))


@pytest.mark.proves(authentication.malformed_key)
@given(data=st.data(), key=malformed_keys())
def test_any_malformed_key_is_refused(tester, subjects, data, key):
    """Whatever else is sent in place of a key is refused too."""
    operation = data.draw(
        st.sampled_from([each for each in tester.document.operations if not each.is_public])
    )

    exchange = knock(tester, subjects, operation, key=key)

    assert not tester.findings_about(exchange)


@pytest.mark.parametrize("way", key_alterations("knouds_live_a0"))
@pytest.mark.proves(authentication.altered_key)
def test_key_altered_in_this_way_is_refused(tester, subjects, document, way):
    """Each way in which a careless comparison might take another key for a valid one is refused."""
    valid_key = tester.need(ANY_KEY).secret.reveal()
    key = key_alterations(valid_key)[way]

    if key != valid_key:  # one without capitals stays the same in lower case
        altered = Secret(key, "key:altered")
        knock(tester, subjects, document.operation_by_id["getWhoami"], key=altered)


@pytest.mark.proves(authentication.altered_key)
@given(data=st.data())
def test_altered_key_is_refused(tester, subjects, data):
    """A valid key altered in case, cut or prolonged is refused."""
    operation = data.draw(
        st.sampled_from([each for each in tester.document.operations if not each.is_public])
    )
    key = data.draw(altered_keys(tester.need(ANY_KEY).secret))

    exchange = knock(tester, subjects, operation, key=key)

    assert not tester.findings_about(exchange)


@pytest.mark.operations(secured=False)
@pytest.mark.proves(authentication.public_operation)
def test_public_operation_needs_no_key(tester, subjects, operation):
    """A public operation answers without a key."""
    tester.send(operation.id, None, subjects.call_without_key(operation))


@pytest.mark.proves(authentication.session_only_path)
def test_session_only_paths_refuse_every_key(tester, document, target):
    """A session-only path refuses every key."""
    usual = tester.need(ANY_KEY)
    keys = [
        usual,
        *(key for key in target.personas.values() if key.state == "active" and key.role == "admin"),
    ]

    for path in document.session_only_paths:
        for persona in dict.fromkeys(keys):
            tester.send_elsewhere("GET", path, persona)


@pytest.mark.proves(authentication.key_prefix)
def test_working_keys_begin_with_the_prefix(tester, target):
    """A key that works begins with the documented prefix."""
    for persona in target.personas.values():
        if persona.state == "active":
            exchange = tester.whoami(persona)
            tester.judge(authentication.key_prefix, exchange, secret=persona.secret)


@pytest.mark.proves(authentication.whoami_owner)
def test_whoami_describes_the_owner_of_the_key(tester, target):
    """Whoami describes the account that the key belongs to."""
    ids: dict[str, str] = {}

    for persona in target.personas.values():
        if persona.state == "active":
            exchange = tester.whoami(persona)
            tester.judge(
                authentication.whoami_owner,
                exchange,
                tier=persona.tier,
                role=persona.role,
                user=persona.user,
                others=dict(ids),
            )
            body = exchange.json_or_none()
            if isinstance(body, dict) and isinstance(body.get("user"), dict):
                ids.setdefault(persona.user, body["user"].get("id"))
