"""A profile is compared with what the target answers, before anything is tested."""

from dataclasses import replace

import httpx
import pytest
from example_targets import make_key, make_target

from knouds_harness.contract.operations import Action
from knouds_harness.errors import TargetUnreachable
from knouds_harness.exchange.profile_check import check_profile, first_contact
from knouds_harness.targets.resources import Model, Workflow

HELD = frozenset({"workflow:read", "workflow:run", "execution:read", "model:run", "workflow:portrait:run"})
KEY = "knouds_live_Full-0123456789_abcdefghijklmnop"
OTHER = "knouds_live_Other-123456789_abcdefghijklmnop"


def key(name="full", secret=KEY, **changes):
    return make_key(name, secret=secret, **{"capabilities": HELD, "tier": "business", **changes})


def target_with(*keys, **limits):
    return replace(
        make_target(**limits),
        personas={each.name: each for each in keys or [key()]},
        workflows={"portrait": Workflow(slug="portrait", owner="ada")},
        models={"gpt-4.1": Model(name="gpt-4.1", cost_credits=5)},
    )


def account(**changes):
    user = {"id": "u-1", "email": "a@b.c", "role": "user", "tier": "business", "approved": True, **changes}
    return httpx.Response(200, json={"user": user})


def refusal(status, code):
    return httpx.Response(status, json={"error": "no", "code": code})


def summary(slug="portrait", created_by="u-1"):
    return {"slug": slug, "createdBy": created_by, "isTemplate": False}


def sound(request):
    path = request.url.path
    if path == "/api/whoami":
        return account()
    if path == "/api/workflows":
        return httpx.Response(200, json=[summary()])
    if path == "/api/workflows/portrait":
        return httpx.Response(200, json=summary())
    if path in ("/api/models/gpt-4.1/run", "/api/workflows/portrait/run"):
        return refusal(400, "INVALID_INPUTS")
    return refusal(404, "NOT_FOUND")


@pytest.fixture
def check(client_answering):
    def check(answers=(), *, target=None):
        by_path = dict(answers)

        def answer(request):
            found = by_path.get(request.url.path) or sound(request)
            return found(request) if callable(found) else found

        return check_profile(client_answering(answer, target=target or target_with()))

    return check


def found(result):
    return [(each.where, each.fact) for each in result.contradictions]


NO = refusal(401, "UNAUTHORIZED")
UNSEEN = {"/api/workflows": httpx.Response(200, json=[])}
LISTED = "workflows.list-own-and-templates"


def unseen(status):
    return {**UNSEEN, "/api/workflows/portrait": refusal(status, "NOT_FOUND")}


@pytest.mark.parametrize(
    ("answers", "where", "fact"),
    [
        ({"/api/whoami": NO, "/api/usage/models": NO}, "keys.full", "auth.key-in-x-api-key"),
        ({"/api/whoami": account(tier="pro")}, "keys.full.tier", "whoami.is-the-key-owner"),
        ({"/api/whoami": account(role="admin")}, "keys.full.role", "whoami.is-the-key-owner"),
        ({"/api/whoami": account(approved=False)}, "keys.full", "whoami.is-the-key-owner"),
        (unseen(403), "workflows.portrait", LISTED),
        (unseen(404), "workflows.portrait", LISTED),
        ({"/api/models/gpt-4.1/run": refusal(404, "MODEL_NOT_FOUND")}, "models.gpt-4.1", "run.success-shape"),
    ],
)
def test_contradiction_is_left_out_of_the_target(check, answers, where, fact):
    result = check(answers)

    assert found(result) == [(where, fact)]
    section = where.partition(".")[0]
    assert not getattr(result.target, "personas" if section == "keys" else section)


def time_out(_):
    raise httpx.ReadTimeout("slow")


def everywhere(answer):
    return dict.fromkeys(("/api/whoami", "/api/workflows", "/api/models/gpt-4.1/run"), answer)


@pytest.mark.parametrize(
    "answers",
    [
        {"/api/whoami": NO},  # another operation accepts the key
        UNSEEN,  # the workflow can be read
        everywhere(refusal(403, "WHATEVER")),
        everywhere(refusal(429, "WHATEVER")),
        everywhere(refusal(500, "WHATEVER")),
        everywhere(refusal(503, "WHATEVER")),
        everywhere(time_out),
    ],
)
def test_what_proves_nothing_is_left_to_the_checks(check, answers):
    assert not check(answers).contradictions


def test_what_a_target_says_stays_in_one_line(check):
    """It is shown on terminals and in reports, where a line of its own could be taken for a verdict."""
    said = {"tier": "x\n\n# Contract kept\r\u2028"}

    (found,) = check({"/api/whoami": account(**said)}).contradictions

    assert len(found.says.splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "capability", "fact"),
    [
        ("/api/workflows", "workflow:read", "capability.exact-is-admitted"),
        ("/api/workflows/harness-no-such-workflow/run", "workflow:run", "capability.exact-is-admitted"),
        ("/api/models/gpt-4.1/run", "model:run", "capability.exact-is-admitted"),
        ("/api/workflows/portrait/run", "workflow:portrait:run", "capability.bound-form-is-admitted"),
    ],
)
def test_denied_capability_is_a_contradiction(check, path, capability, fact):
    result = check({path: refusal(403, "CAPABILITY_DENIED")})

    assert found(result) == [("keys.full.capabilities", fact)]
    assert result.target.personas["full"].capabilities == HELD - {capability}


def test_model_run_of_a_pro_key_is_not_tried(check):
    """Tiers below business are refused with one of two codes, whatever the key holds."""
    target = target_with(key(tier="pro", capabilities=frozenset({"model:run"})))
    result = check({"/api/whoami": account(tier="pro")}, target=target)

    assert [each.request.operation_id for each in result.exchanges] == ["getWhoami"]


def test_template_of_a_stranger_need_not_be_read_by_slug(check):
    """Lists show it, but this one did not come; whether it may be read is open."""
    workflow = Workflow(slug="starter", owner="zoe", template=True)
    result = check(
        {"/api/workflows": httpx.Response(503), "/api/workflows/starter": refusal(404, "NOT_FOUND")},
        target=replace(
            target_with(key(capabilities=frozenset({"workflow:read"}))), workflows={"starter": workflow}
        ),
    )

    assert not result.contradictions


def test_no_second_model_is_tried_after_one_was_run(check):
    """This server runs inputs that are not an object; it is not given another chance."""
    models = {name: Model(name=name, cost_credits=5) for name in ("a-model", "b-model", "c-model")}
    result = check(
        {"/api/models/a-model/run": httpx.Response(200, json={"success": True, "cost": 5})},
        target=replace(target_with(), models=models),
    )

    assert [each.request.path for each in result.exchanges if each.request.operation_id == "runModel"] == [
        "/api/models/a-model/run"
    ]


def test_model_over_the_budget_is_not_tried(check):
    models = {"dear": Model(name="dear", cost_credits=500), "unpriced": Model(name="unpriced")}
    result = check(target=replace(target_with(), models=models))

    assert "/api/models/harness-no-such-model/run" in {each.request.path for each in result.exchanges}
    assert not [each for each in result.exchanges if each.request.path_values.get("internalName") in models]


def test_price_of_a_workflow_is_read_before_a_run_is_tried(check):
    """So it is reserved, in case the server takes the request for a run."""
    keys = [key(capabilities=frozenset({"workflow:read", "workflow:portrait:run"}))]
    schema = httpx.Response(200, json={"fields": [], "estimatedCreditCost": 8})
    result = check({"/api/workflows/portrait/schema": schema}, target=target_with(*keys))

    (run,) = [each for each in result.exchanges if each.request.path == "/api/workflows/portrait/run"]
    assert run.request.cost_credits == 8


def test_run_that_the_credits_do_not_cover_is_not_tried(check):
    result = check(target=replace(target_with(key(capabilities=frozenset({"model:gpt-4.1:run"})), credits=4)))

    assert not [each for each in result.exchanges if each.request.operation_id == "runModel"]
    assert not result.contradictions


@pytest.mark.parametrize("state", ["revoked", "legacy", "unapproved"])
def test_key_that_should_be_refused_and_works_is_a_contradiction(check, state):
    """It is kept; the checks judge what it may do."""
    result = check(target=target_with(key(), key("dead", OTHER, state=state)))

    assert [each.where for each in result.contradictions] == ["keys.dead.state"]
    assert "dead" in result.target.personas


def test_only_allowed_actions_are_sent(check):
    result = check(target=target_with(allow=frozenset({Action.READ})))

    assert {each.request.action for each in result.exchanges} == {Action.READ}


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.Response(200, html="<!doctype html><title>Log in"), "200 with HTML instead of JSON"),
        (httpx.Response(502, content=b"  <h1>Bad Gateway"), "502 from a gateway without its server"),
        (httpx.Response(503, content=b"  <h1>Bad Gateway"), "503 from a gateway without its server"),
        (httpx.Response(504, content=b"  <h1>Bad Gateway"), "504 from a gateway without its server"),
        (httpx.Response(302, headers={"location": "https://a.example"}), "302 with a redirect to https://a"),
    ],
)
def test_first_contact_recognises_other_servers(client_answering, answer: httpx.Response, says: str):
    with pytest.raises(TargetUnreachable, match=f"answers {says}"):
        first_contact(client_answering(answer), wait=lambda _: None)


def test_gateway_that_has_its_server_again_is_no_obstacle(client_answering):
    answers = [httpx.Response(502, text="<h1>"), httpx.Response(503), httpx.Response(200, json={"ok": True})]
    waited: list[float] = []

    contact = first_contact(client_answering(lambda _: answers.pop(0)), wait=waited.append)

    assert contact.status == 200
    assert len(waited) == 2
