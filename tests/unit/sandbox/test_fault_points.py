"""A fault is met by the request whose promise it breaks, and not by one that it leaves as it is."""

from typing import Any

import httpx
import pytest

from knouds_sandbox.serving import running_sandbox

WORKFLOWS, PORTRAIT = "/api/workflows", "/api/workflows/portrait"
WHOAMI = ("GET", "/api/whoami")
USAGE = "/api/usage"
NEW = {"name": "New"}


def run(workflow, persona, inputs=None):
    return "POST", f"{WORKFLOWS}/{workflow}/run", persona, {"inputs": inputs or {}}


def run_model(model, persona):
    return "POST", f"/api/models/{model}", persona, {"inputs": {}}


USUAL = run("portrait", "full")

CASES: dict[str, list[Any]] = {
    "spelling-method-override-needs-no-capability": [
        ("POST", WORKFLOWS, "none", NEW),
        ("POST", f"{PORTRAIT}?_method=DELETE", "none"),
    ],
    "delete-answers-204": [("DELETE", f"{WORKFLOWS}/no-such", "full"), ("DELETE", PORTRAIT, "full")],
    "whoami-lacks-email": [("GET", PORTRAIT, "full"), (*WHOAMI, "full")],
    "whoami-tier-as-number": [("GET", PORTRAIT, "full"), (*WHOAMI, "full")],
    "usage-slim-names-a-workflow": [("GET", USAGE, "ines"), ("GET", USAGE, "full")],
    "envelope-404-without-text": [WHOAMI, ("GET", f"{WORKFLOWS}/none", "full")],
    "envelope-model-not-found-is-400": [("GET", f"{WORKFLOWS}/none", "full"), run_model("none/run", "full")],
    "auth-revoked-accepted": [(*WHOAMI, "full"), (*WHOAMI, "revoked")],
    "capability-whoami-needs-read": [(*WHOAMI, "read-only"), (*WHOAMI, "none")],
    "capability-write-implies-read": [("GET", PORTRAIT, "full"), ("GET", PORTRAIT, "only-workflow-write")],
    "capability-bound-form-reads-its-own": [
        run("portrait", "bound-workflow"),
        ("GET", PORTRAIT, "bound-workflow"),
    ],
    "capability-denied-create-happens": [("POST", WORKFLOWS, "full", NEW), ("POST", WORKFLOWS, "none", NEW)],
    "run-slug-case-ignored": [USUAL, run("Portrait", "full")],
    "run-foreign-workflow-accepted": [USUAL, run("portrait", "stranger")],
    "model-run-under-business-async": [
        run_model("suno-v5/run?async=true", "business"),
        run_model("suno-v5/run?async=true", "pro-model"),
    ],
    "model-tier-ignored": [
        run_model("seedream-v5/run", "business"),
        run_model("enterprise-model/run", "business"),
    ],
    "run-defaults-count-one-more": [run("portrait", "full", {"count": 1}), USUAL],
    "create-believes-created-by": [
        ("POST", WORKFLOWS, "full", NEW),
        ("POST", WORKFLOWS, "full", NEW | {"createdBy": "usr_x"}),
    ],
    "update-resets-what-is-left-out": [
        ("PUT", PORTRAIT, "full", {"tags": [], "description": ""}),
        ("PUT", f"{WORKFLOWS}/all-fields", "full", NEW),
    ],
    "run-without-credits-accepted": [USUAL, run("nil-portrait", "broke")],
    "usage-offset-lost-with-a-filter": [
        ("GET", f"{USAGE}?offset=1", "full"),
        ("GET", f"{USAGE}?offset=1&status=completed", "full"),
    ],
    "tier-pro-limit-is-99": [run("bea-portrait", "business"), run("pia-portrait", "pro")],
    "usage-charges-refused-inputs": [USUAL, (*USUAL[:3], {})],
    "workflows-list-escapes-text": [("GET", PORTRAIT, "full"), ("GET", WORKFLOWS, "full")],
}
"""By the id of a fault: a request that it leaves as it is, and one that meets it; of each kind."""


@pytest.mark.parametrize("fault", CASES)
def test_fault_is_met_by_the_request_that_it_changes(fault):
    unlike, like = CASES[fault]
    with (
        running_sandbox(seed=7, faults=(fault,)) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):

        def is_met(request):
            method, path, persona, body = (*request, None, None)[:4]
            headers = {"x-api-key": sandbox.keys[persona]} if persona else {}
            client.request(method, path, headers=headers, json=body)
            return sandbox.is_met_by_fault[fault]

        assert [is_met(unlike), is_met(like)] == [False, True]
