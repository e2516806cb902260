"""A request may choose its outcome; the document says what each outcome is."""

import httpx
import pytest
from clocks import wait_until

from knouds_harness.contract.document import shipped_document
from knouds_sandbox.providers import Latency
from knouds_sandbox.routing.preferences import ENDS, OUTCOMES, outcomes_of
from knouds_sandbox.serving import running_sandbox

OPERATIONS = shipped_document().operation_by_id
OF_OTHER_SERVERS = {"INVALID_DOCUMENT", "INVALID_QUERY", "INVALID_EXECUTION_ID", "UNSUPPORTED_CONTENT_TYPE"}
"""Codes of the document that the sandbox never returns: it chose others, as no source gives any."""

RUN = "/api/workflows/sunset-clip/run"
ASYNC_RUN = f"{RUN}?async=true"


@pytest.fixture(scope="module")
def shared_sandbox():
    with running_sandbox(seed=7, prefer=True, latency=Latency(time_scale=0.1)) as sandbox:
        yield sandbox


@pytest.fixture
def prefer(ask):
    def prefer(preference, method="GET", path="/api/whoami", persona=None, **options):
        return ask(method, path, persona, headers={"prefer": preference}, **options)

    return prefer


@pytest.mark.parametrize(
    ("operation", "outcome"),
    [(operation, name) for operation in OPERATIONS for name in outcomes_of(operation)],
)
def test_outcome_is_as_documented(prefer, assert_refused, operation, outcome):
    status, code, _ = OUTCOMES[outcome]
    documented = shipped_document().error_codes[code]
    path = OPERATIONS[operation].path.replace("{", "a").replace("}", "")

    by_name, by_code = (
        prefer(each, OPERATIONS[operation].method, path) for each in (f"example={outcome}", f"code={code}")
    )

    body = assert_refused(by_name, status, code)
    assert status in documented.statuses
    assert [field for field in documented.context_fields if not body.get(field)] == []
    assert by_name.headers["preference-applied"] == f"example={outcome}"
    assert by_code.json() == body


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_documented_code_can_be_requested(operation):
    known = {OUTCOMES[name].code for name in outcomes_of(operation)}

    documented = set(OPERATIONS[operation].error_codes)
    of_writes = {"FORBIDDEN"} if operation.startswith("get") else set()
    assert known <= documented <= known | OF_OTHER_SERVERS | of_writes


def test_status_gives_the_first_outcome_that_has_it(prefer, assert_refused):
    """``code=402`` means too few credits, and not a used-up grant."""
    assert_refused(prefer("code=402", "POST", RUN), 402, "INSUFFICIENT_CREDITS")


NAMES = "code, example, delay_ms, times, wire"


@pytest.mark.parametrize(
    ("preference", "knows"),
    [
        ("respond-async", NAMES),
        (
            "code=418",
            "code= (401, UNAUTHORIZED, LEGACY_KEY_RETIRED, 429, RATE_LIMIT_EXCEEDED, 502, 503, 504)",
        ),
        ("code=402", "code= (401, "),
        ("example=none", "example= (no-key, legacy, over-limit)"),
        ("delay_ms=-1", "delay_ms= (0 to 600000)"),
        ("delay_ms=600001", "delay_ms= (0 to 600000)"),
        ("delay_ms=" + "0" * 5000, "delay_ms= (0 to 600000)"),
        ("times=0", "times= (1 to 9999)"),
        ("wire=cat", "wire= (drop, reset, cut, slow)"),
        ("execution=failed", NAMES),
        ("\xe9", NAMES),
    ],
)
def test_unknown_preference_is_refused(prefer, assert_refused, preference, knows):
    """The refusal says what is known in its place."""
    error = assert_refused(prefer(preference.encode("latin-1")), 400, "INVALID_PREFERENCE")["error"]

    assert f'Prefer: "{preference}" is unknown. getWhoami knows {knows}' in error


@pytest.mark.parametrize(("persona", "limited"), [("business", ("business", 1000)), ("full", ("pro", 100))])
def test_limit_is_that_of_the_key_if_it_has_one(prefer, persona, limited):
    answer = prefer("code=429", "POST", RUN, persona)

    refused = answer.json()
    assert (refused["tier"], refused["limit"]) == limited
    assert answer.headers["retry-after"] == str(refused["retryAfter"])
    assert {"x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"} <= set(answer.headers)


def test_first_of_several_preferences_wins(prefer, assert_refused):
    answer = prefer("example=legacy, code=429, delay_ms=1, delay_ms=2")

    assert_refused(answer, 401, "LEGACY_KEY_RETIRED")
    assert answer.headers["preference-applied"] == "example=legacy, delay_ms=1"


def test_chosen_outcome_comes_as_often_as_asked(prefer):
    """Counted for a key, a path and a preference; another request begins anew."""
    asked = ("code=429, times=2", "GET", "/api/whoami", "full")

    assert [prefer(*asked).status_code for _ in range(4)] == [429, 429, 200, 200]
    assert "preference-applied" not in prefer(*asked).headers
    assert prefer("code=429, times=2", "GET", "/api/usage", "full").status_code == 429
    assert prefer("code=429, times=1", "GET", "/api/whoami", "full").status_code == 429
    assert prefer("code=429, times=2", "GET", "/api/whoami", "pro").status_code == 429


@pytest.mark.parametrize(
    ("status", "server", "media_type"),
    [(502, "nginx", "text/html"), (503, "envoy", "text/plain"), (504, "nginx", "text/html")],
)
@pytest.mark.parametrize("options", [{}, {"faults": ("whoami-lacks-email",), "legal": "3"}])
def test_gateway_answers_with_a_page_of_its_own(status, server, media_type, options):
    with running_sandbox(prefer=True, **options) as sandbox:
        answer = httpx.get(f"{sandbox.base_url}/api/whoami", headers={"prefer": f"code={status}"})

    assert (answer.status_code, answer.headers["server"]) == (status, server)
    assert answer.headers["content-type"].startswith(media_type)
    assert not answer.text.startswith("{")


@pytest.mark.parametrize(
    ("wire", "failure"),
    [
        ("drop", httpx.RemoteProtocolError),
        ("reset", httpx.ReadError),
        ("cut", httpx.RemoteProtocolError),
        ("slow", httpx.ReadTimeout),
    ],
)
@pytest.mark.parametrize("options", [{}, {"legal": "own,http=1.0", "between": "own,headers=added"}])
def test_run_is_charged_although_its_answer_is_lost(wire, failure, options):
    """Once, and the next request is answered as usual, if ``times=1`` says so."""
    with running_sandbox(prefer=True, **options) as sandbox:
        headers = {"x-api-key": sandbox.keys["full"], "prefer": f"wire={wire}, times=1"}
        with httpx.Client(base_url=sandbox.base_url, headers=headers, timeout=0.5) as client:
            before = client.get("/api/usage", headers={"prefer": ""}).json()["total"]
            with pytest.raises(failure) as raised:
                client.post(ASYNC_RUN, json={"inputs": {}})
            assert client.get("/api/usage", headers={"prefer": ""}).json()["total"] == before + 1
            assert client.post(ASYNC_RUN, json={"inputs": {}}).status_code == 202

    assert (
        wire != "cut" or "incomplete" in str(raised.value) or "without sending complete" in str(raised.value)
    )


def test_slow_answer_arrives_whole(prefer):
    answer = prefer("wire=slow, delay_ms=20", persona="full")

    assert (answer.status_code, answer.json()["user"]["tier"]) == (200, "enterprise")
    assert answer.headers["preference-applied"] == "wire=slow, delay_ms=20"


@pytest.mark.parametrize("end", ENDS)
def test_execution_ends_as_requested(ask, prefer, end):
    answer = prefer(f"execution={end}", "POST", ASYNC_RUN, "full", json={"inputs": {}})
    assert (answer.status_code, answer.headers["preference-applied"]) == (202, f"execution={end}")
    poll = answer.json()["pollUrl"]

    if end == "processing":
        assert ask("POST", f"{poll}/cancel", "full").json()["status"] == "cancel_requested"
    wait_until(lambda: "endedAt" in ask("GET", poll, "full").json())

    ended = ask("GET", poll, "full").json()
    assert ended["status"] == ("cancelled" if end == "processing" else end)
    assert (ended["cost"] == 0) == (end == "failed")


@pytest.mark.parametrize(
    ("end", "status"), [("completed", 200), ("failed", 500), ("cancelled", 400), ("processing", 400)]
)
def test_synchronous_run_ends_as_requested(prefer, end, status):
    path = "/api/workflows/always-fails/run"

    assert prefer(f"execution={end}", "POST", path, "full", json={"inputs": {}}).status_code == status


def test_refused_run_applies_no_preference(prefer):
    answer = prefer("execution=failed", "POST", ASYNC_RUN, "none")

    assert answer.status_code == 403
    assert "preference-applied" not in answer.headers


def test_prefer_is_ignored_by_default():
    with running_sandbox(seed=7) as sandbox:
        headers = {"x-api-key": sandbox.keys["full"], "prefer": "code=401, nonsense"}
        answer = httpx.get(f"{sandbox.base_url}/api/whoami", headers=headers)

    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers
