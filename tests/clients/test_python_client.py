"""The client that openapi-python-client makes of the document: each operation, with a typed answer."""

import importlib
import re
import sys
from http import HTTPStatus
from typing import Any

import pytest
from checking import run_program

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path

OPERATIONS = shipped_document().operation_by_id
HARBOUR = OPERATIONS["createWorkflow"].request_examples["harbour"]


class Generated:
    """A generated package: its operations by operationId, its models by name."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._clients: list[Any] = []
        self.models = importlib.import_module(f"{package}.models")

    def client(self, base_url, key):
        module = importlib.import_module(f"{self._package}.client")
        client = module.AuthenticatedClient(
            base_url=base_url, token=key, prefix="", auth_header_name="x-api-key", timeout=60
        )
        self._clients.append(client)
        return client

    def close(self):
        for client in self._clients:
            client.get_httpx_client().close()

    def call(self, operation_id, client, **arguments):
        operation = OPERATIONS[operation_id]
        [tag] = shipped_document().raw["paths"][operation.path][operation.method.lower()]["tags"]
        name = re.sub("([A-Z])", r"_\1", operation_id).lower()
        module = importlib.import_module(f"{self._package}.api.{tag.lower()}.{name}")
        return module.sync_detailed(client=client, **arguments).parsed


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Made without a warning: nothing of the document was left out."""
    folder = tmp_path_factory.mktemp("python")
    process = run_program(
        *(sys.executable, "-m", "openapi_python_client", "generate", "--path", document_path()),
        *("--meta", "none", "--output-path", folder / "knouds_client"),
        cwd=folder,
    )
    said = process.stdout + process.stderr
    assert process.returncode == 0, said
    assert "WARNING" not in said
    assert "Unable to" not in said
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        package = Generated("knouds_client")
        yield package
        package.close()


@pytest.fixture(scope="module")
def answers(generated, sandbox, slow_sandbox):
    """What each operation answered in the life of one workflow, and of a run that is cancelled."""
    m, call = generated.models, generated.call
    client = generated.client(sandbox.base_url, sandbox.keys["full"])
    slow = generated.client(slow_sandbox.base_url, slow_sandbox.keys["full"])
    run = m.RunRequest.from_dict({"inputs": {"prompt": "a harbour at dawn", "count": 2}})
    got = {
        "getHealth": call("getHealth", client),
        "getPublicPricing": call("getPublicPricing", client),
        "getWhoami": call("getWhoami", client),
        "createWorkflow": call("createWorkflow", client, body=m.CreateWorkflowBody.from_dict(HARBOUR)),
    }
    slug = got["createWorkflow"].slug
    got["listWorkflows"] = call("listWorkflows", client)
    publish = m.WorkflowParts(public_playground=True)
    got["updateWorkflow"] = call("updateWorkflow", client, slug=slug, body=publish)
    got["moveWorkflow"] = call("moveWorkflow", client, slug=slug, body=m.MoveWorkflowBody(folder_id=None))
    got["getWorkflow"] = call("getWorkflow", client, slug=slug)
    got["getPublicWorkflowSchema"] = call("getPublicWorkflowSchema", client, slug=slug)
    got["getWorkflowSchema"] = call("getWorkflowSchema", client, slug="portrait")
    got["runWorkflow"] = call("runWorkflow", client, slug="portrait", body=run)
    got["runModel"] = call("runModel", client, internal_name="seedream-v5", body=run)
    got["listUsage"] = call("listUsage", client, limit=5, status=m.ListUsageStatus.COMPLETED)
    got["listUsageModels"] = call("listUsageModels", client)
    got["deleteWorkflow"] = call("deleteWorkflow", client, slug=slug)
    got["runWorkflow async"] = call("runWorkflow", slow, slug="portrait", body=run, async_=True)
    execution = got["runWorkflow async"].execution_id
    got["getExecution"] = call("getExecution", slow, id=execution)
    got["cancelExecution"] = call("cancelExecution", slow, id=execution)
    return got


def test_every_operation_is_called(answers):
    assert {name.partition(" ")[0] for name in answers} == set(OPERATIONS)


def test_every_answer_has_a_type_of_its_own(generated, answers):
    """And none is that of a refusal."""
    lists, documented = {"listWorkflows", "listUsageModels"}, vars(generated.models).values()
    models = {name: each for name, each in answers.items() if name not in lists or not isinstance(each, list)}

    assert [name for name, each in models.items() if type(each) not in documented] == []
    assert [name for name, each in models.items() if hasattr(each, "code")] == []


def test_members_are_typed(generated, answers):
    """What a program does with answers needs no dictionary."""
    m = generated.models

    assert answers["getWhoami"].user.role is m.GetWhoamiResponse200UserRole.USER
    assert answers["getWorkflow"].slug == answers["createWorkflow"].slug
    assert answers["getWorkflow"].nodes[0].position["x"] == HARBOUR["nodes"][0]["position"]["x"]
    assert answers["runWorkflow"].cost == 2 * answers["getWorkflowSchema"].estimated_credit_cost
    assert answers["listUsage"].rows[0].credits_cost == answers["runModel"].cost
    assert answers["getExecution"].status is m.ExecutionStatus.PROCESSING


def test_refusals_are_typed(generated, answers, sandbox):
    """What is missing, and why; the context of a code included."""
    nobody = generated.client(sandbox.base_url, sandbox.keys["none"])
    slug = answers["createWorkflow"].slug
    client = generated.client(sandbox.base_url, sandbox.keys["full"])

    denied = generated.call("listWorkflows", nobody)
    gone = generated.call("getWorkflow", client, slug=slug)

    assert isinstance(denied, generated.models.Denial)
    assert "workflow:read" in denied.required
    assert gone.code == HTTPStatus.NOT_FOUND.name
