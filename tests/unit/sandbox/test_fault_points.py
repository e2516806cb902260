"""A fault is met by the request whose promise it breaks, and not by one that it leaves as it is."""

from typing import Any

import httpx
import pytest

from knouds_sandbox.serving import running_sandbox

TOKEN = "test-token"
INPUTS: dict[str, object] = {"inputs": {}}
WORKFLOWS, PORTRAIT = "/api/workflows", "/api/workflows/portrait"
WHOAMI = ("GET", "/api/whoami")
RUN = ("POST", f"{PORTRAIT}/run")

CASES: dict[str, list[Any]] = {
    "spelling-method-override-needs-no-capability": [
        ("POST", WORKFLOWS, "none", {"name": "New"}),
        ("POST", f"{PORTRAIT}?_method=DELETE", "none"),
    ],
    "delete-answers-204": [("DELETE", f"{WORKFLOWS}/no-such", "full"), ("DELETE", PORTRAIT, "full")],
    "whoami-lacks-email": [("GET", PORTRAIT, "full"), (*WHOAMI, "full")],
    "whoami-tier-as-number": [("GET", PORTRAIT, "full"), (*WHOAMI, "full")],
    "usage-slim-names-a-workflow": [("GET", "/api/usage?limit=1", "ines"), ("GET", "/api/usage", "full")],
    "usage-row-lacks-request-id": [("GET", "/api/usage", "ines"), ("GET", "/api/usage", "full")],
    "envelope-404-without-text": [WHOAMI, ("GET", f"{WORKFLOWS}/none", "full")],
    "envelope-model-not-found-is-400": [
        ("GET", f"{WORKFLOWS}/none", "full"),
        ("POST", "/api/models/none/run", "full", INPUTS),
    ],
    "auth-revoked-accepted": [(*WHOAMI, "full"), (*WHOAMI, "revoked")],
    "auth-missing-key-accepted": [(*WHOAMI, "revoked"), WHOAMI],
    "capability-whoami-needs-read": [(*WHOAMI, "read-only"), (*WHOAMI, "none")],
    "capability-write-implies-read": [("GET", PORTRAIT, "full"), ("GET", PORTRAIT, "only-workflow-write")],
    "capability-bound-form-reads-its-own": [
        (*RUN, "bound-workflow", INPUTS),
        ("GET", PORTRAIT, "bound-workflow"),
    ],
    "capability-denied-create-happens": [
        ("POST", WORKFLOWS, "full", {"name": "New"}),
        ("POST", WORKFLOWS, "none", {"name": "New"}),
    ],
    "delete-keeps-the-workflow": [("DELETE", f"{WORKFLOWS}/no-such", "full"), ("DELETE", PORTRAIT, "full")],
    "run-slug-case-ignored": [(*RUN, "full", INPUTS), ("POST", f"{WORKFLOWS}/Portrait/run", "full", INPUTS)],
    "run-foreign-workflow-accepted": [(*RUN, "full", INPUTS), (*RUN, "stranger", INPUTS)],
    "model-run-under-business-async": [
        ("POST", "/api/models/suno-v5/run?async=true", "business", INPUTS),
        ("POST", "/api/models/suno-v5/run?async=true", "pro-model", INPUTS),
    ],
    "model-tier-ignored": [
        ("POST", "/api/models/seedream-v5/run", "business", INPUTS),
        ("POST", "/api/models/enterprise-model/run", "business", INPUTS),
    ],
    "run-inputs-missing-accepted": [(*RUN, "full", INPUTS), (*RUN, "full", {})],
    "run-defaults-count-one-more": [(*RUN, "full", {"inputs": {"count": 1}}), (*RUN, "full", INPUTS)],
    "create-suffixes-from-1": [("POST", WORKFLOWS, "full", {"name": "New"})] * 2,
    "create-believes-created-by": [
        ("POST", WORKFLOWS, "full", {"name": "New"}),
        ("POST", WORKFLOWS, "full", {"name": "New", "createdBy": "usr_x"}),
    ],
    "update-resets-what-is-left-out": [
        ("PUT", PORTRAIT, "full", {"tags": [], "description": ""}),
        ("PUT", f"{WORKFLOWS}/all-fields", "full", {"name": "New"}),
    ],
    "move-to-root-ignored": [
        ("PUT", f"{PORTRAIT}/move", "full", {"folderId": None}),
        ("PUT", f"{WORKFLOWS}/in-folder/move", "full", {"folderId": None}),
    ],
    "run-without-credits-accepted": [
        (*RUN, "full", INPUTS),
        ("POST", f"{WORKFLOWS}/nil-portrait/run", "broke", INPUTS),
    ],
    "usage-offset-lost-with-a-filter": [
        ("GET", "/api/usage?offset=1", "full"),
        ("GET", "/api/usage?offset=1&status=completed", "full"),
    ],
    "tier-pro-limit-is-99": [
        ("POST", f"{WORKFLOWS}/bea-portrait/run", "business", INPUTS),
        ("POST", f"{WORKFLOWS}/pia-portrait/run", "pro", INPUTS),
    ],
    "usage-charges-refused-inputs": [(*RUN, "full", INPUTS), (*RUN, "full", {})],
    "workflows-list-escapes-text": [("GET", PORTRAIT, "full"), ("GET", WORKFLOWS, "full")],
}
"""By the id of a fault: a request that it leaves as it is, and one that meets it; of each kind."""


@pytest.mark.parametrize("fault", CASES)
def test_fault_is_met_by_the_request_that_it_changes(fault):
    unlike, like = CASES[fault]
    with (
        running_sandbox(seed=7, faults=(fault,), control_token=TOKEN) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):

        def is_met(request):
            method, path, persona, body = (*request, None, None)[:4]
            headers = {"x-api-key": sandbox.keys[persona]} if persona else {}
            client.request(method, path, headers=headers, json=body)
            return sandbox.is_met_by_fault[fault]

        assert [is_met(unlike), is_met(like)] == [False, True]


def test_control_plane_says_which_faults_were_met():
    with (
        running_sandbox(faults=("whoami-lacks-email", "health-is-text"), control_token=TOKEN) as sandbox,
        httpx.Client(base_url=sandbox.base_url) as client,
    ):
        client.get("/api/health")

        state = client.get("/__sandbox__/state", headers={"x-sandbox-token": TOKEN}).json()

    assert state["faultsMet"] == {"health-is-text": True, "whoami-lacks-email": False}
