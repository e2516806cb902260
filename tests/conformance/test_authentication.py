"""Who gets in.

A request that must be refused is valid and names a resource that exists, so that nothing but the key is
wrong; what it would write to is there for that.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.conformance.checks import authentication
from knouds_harness.conformance.generation import altered_keys, key_alterations, malformed_keys, unknown_keys
from knouds_harness.conformance.needs import (
    ANY_KEY,
    FULL_KEY,
    LEGACY_KEY,
    REVOKED_KEY,
    UNAPPROVED_KEY,
)
from knouds_harness.conformance.subjects import harmless_call

pytestmark = pytest.mark.independent

secured = pytest.mark.operations(secured=True)


def knock(probe, subjects, operation, *, persona=None, key=None, **changes):
    """Send what would succeed with a good key; what a server creates all the same is deleted in the end."""
    call = subjects.call_on_existing(operation).having(**changes)
    exchange = probe.send(operation.id, persona, call, key=key)
    subjects.note_created(exchange)
    return exchange


@secured
@pytest.mark.proves(authentication.key_is_accepted)
def test_valid_key_is_accepted(probe, operation):
    """A valid key in the x-api-key header authenticates."""
    exchange = probe.send(operation.id, probe.need(FULL_KEY), harmless_call(operation))

    probe.judge(authentication.key_is_accepted, exchange)


@secured
@pytest.mark.proves(authentication.missing_key)
def test_missing_key_is_refused(probe, subjects, operation):
    """A request without a key is refused."""
    exchange = knock(probe, subjects, operation)

    probe.judge(authentication.missing_key, exchange)


@secured
@pytest.mark.proves(authentication.empty_key)
def test_empty_key_is_refused(probe, subjects, operation):
    """An empty key is refused."""
    exchange = knock(probe, subjects, operation, key="")

    probe.judge(authentication.empty_key, exchange)


@secured
@pytest.mark.proves(authentication.revoked_key)
def test_revoked_key_is_refused(probe, subjects, operation):
    """A revoked key is refused."""
    exchange = knock(probe, subjects, operation, persona=probe.need(REVOKED_KEY))

    probe.judge(authentication.revoked_key, exchange)


@secured
@pytest.mark.proves(authentication.legacy_key)
def test_legacy_key_is_refused_as_retired(probe, subjects, operation):
    """A key made before May 2026 is refused as retired."""
    exchange = knock(probe, subjects, operation, persona=probe.need(LEGACY_KEY))

    probe.judge(authentication.legacy_key, exchange)


@secured
@pytest.mark.proves(authentication.unapproved_account)
def test_key_of_unapproved_account_is_refused(probe, subjects, operation):
    """A valid key of an account not yet approved is refused."""
    exchange = knock(probe, subjects, operation, persona=probe.need(UNAPPROVED_KEY))

    probe.judge(authentication.unapproved_account, exchange)


@secured
@pytest.mark.proves(authentication.bearer)
def test_bearer_token_is_refused(probe, subjects, operation):
    """A key in Authorization: Bearer does not authenticate."""
    key = probe.need(FULL_KEY).secret.reveal()

    exchange = knock(probe, subjects, operation, headers=(("authorization", f"Bearer {key}"),))

    probe.judge(authentication.bearer, exchange)


@secured
@pytest.mark.parametrize("parameter", ["x-api-key", "api_key"])
@pytest.mark.proves(authentication.key_in_query)
def test_key_in_query_is_refused(probe, subjects, operation, parameter):
    """A key in the query string does not authenticate."""
    key = probe.need(FULL_KEY).secret.reveal()

    exchange = knock(probe, subjects, operation, query=((parameter, key),))

    probe.judge(authentication.key_in_query, exchange)


@pytest.mark.proves(authentication.unknown_key)
@given(data=st.data(), key=unknown_keys())
def test_unknown_key_is_refused(probe, subjects, data, key):
    """A well-formed key that nobody holds is refused, before its capabilities are looked at."""
    operation = data.draw(st.sampled_from([each for each in probe.document.operations if not each.is_public]))

    exchange = knock(probe, subjects, operation, key=key)

    assert not probe.judge(authentication.unknown_key, exchange)


@secured
@pytest.mark.proves(authentication.malformed_key)
@given(key=malformed_keys())
@example(key="knouds_live_")
@example(key="null")
@example(key="' OR '1'='1")
def test_malformed_key_is_refused(probe, subjects, operation, key):
    """A key that does not look like one is refused."""
    exchange = knock(probe, subjects, operation, key=key)

    assert not probe.judge(authentication.malformed_key, exchange)


@pytest.mark.parametrize("way", key_alterations("knouds_live_a0"))
@pytest.mark.proves(authentication.altered_key)
def test_key_altered_in_this_way_is_refused(probe, subjects, document, way):
    """Each way in which a careless comparison might take another key for a valid one is refused."""
    valid_key = probe.need(FULL_KEY).secret.reveal()
    key = key_alterations(valid_key)[way]

    if key != valid_key:  # one without capitals stays the same in lower case
        exchange = knock(probe, subjects, document.operation_by_id["getWhoami"], key=key)
        probe.judge(authentication.altered_key, exchange)


@pytest.mark.proves(authentication.altered_key)
@given(data=st.data())
def test_altered_key_is_refused(probe, subjects, data):
    """A valid key altered in case, cut or prolonged is refused."""
    operation = data.draw(st.sampled_from([each for each in probe.document.operations if not each.is_public]))
    key = data.draw(altered_keys(probe.need(FULL_KEY).secret.reveal()))

    exchange = knock(probe, subjects, operation, key=key)

    assert not probe.judge(authentication.altered_key, exchange)


@pytest.mark.operations(secured=False)
@pytest.mark.proves(authentication.public_operation)
def test_public_operation_needs_no_key(probe, subjects, operation):
    """A public operation answers without a key."""
    exchange = probe.send(operation.id, None, subjects.call_on_existing(operation))

    probe.judge(authentication.public_operation, exchange)


@pytest.mark.proves(authentication.session_only_path)
def test_session_only_paths_refuse_every_key(probe, document, target):
    """A session-only path refuses every key, whatever it holds."""
    full = FULL_KEY.find(target)
    strongest = [
        key
        for key in target.personas.values()
        if key.state == "active" and (key.role == "admin" or key == full)
    ]

    for path in document.session_only_paths:
        for persona in strongest or [probe.need(ANY_KEY)]:
            exchange = probe.send_elsewhere("GET", path, persona)
            probe.judge(authentication.session_only_path, exchange)


@pytest.mark.proves(authentication.key_prefix)
def test_working_keys_begin_with_the_prefix(probe, target):
    """A key that works begins with the documented prefix."""
    for persona in target.personas.values():
        if persona.state == "active":
            exchange = probe.send("getWhoami", persona)
            probe.judge(authentication.key_prefix, exchange, secret=persona.secret.reveal())


@pytest.mark.proves(authentication.whoami_owner)
def test_whoami_describes_the_owner_of_the_key(probe, target):
    """Whoami describes the account that the key belongs to."""
    ids: dict[str, str] = {}

    for persona in target.personas.values():
        if persona.state == "active":
            exchange = probe.send("getWhoami", persona)
            probe.judge(
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
