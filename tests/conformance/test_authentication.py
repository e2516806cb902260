"""Who gets in."""

import pytest

from knouds_harness.exchange.evidence import effectless_call
from knouds_harness.judging.checks import authentication
from knouds_harness.targets.needs.keys import ANY_KEY

pytestmark = pytest.mark.independent


@pytest.mark.operations(secured=True)
@pytest.mark.proves(authentication.key_is_accepted)
def test_valid_key_is_accepted(tester, operation):
    """A valid key in the x-api-key header authenticates."""
    tester.send(operation.id, tester.need(ANY_KEY), effectless_call(operation))


@pytest.mark.operations(secured=False)
@pytest.mark.proves(authentication.public_operation)
def test_public_operation_needs_no_key(tester, test_data, operation):
    """A public operation answers without a key."""
    tester.send(operation.id, None, test_data.call_without_key(operation))


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
