"""Prism mocks the document: it answers every example, and with one of them where nobody asks for any."""

import subprocess

import httpx
import pytest
from clocks import wait_until
from example_targets import free_port

from knouds_harness.contract.document import shipped_document
from knouds_harness.locations import document_path

OPERATIONS = shipped_document().operations
PARAMETERS = shipped_document().raw["components"]["parameters"]
EXAMPLES = [
    pytest.param(operation, response.status, name, id=f"{operation.id}-{response.status}-{name}")
    for operation in OPERATIONS
    for response in operation.responses.values()
    for name in response.examples
]


@pytest.fixture(scope="module")
def prism(node_tools, tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("prism") / "log"
    command = ["node", str(node_tools / "prism"), "mock", "--port", str(port), str(document_path())]
    with log.open("w") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            wait_until(lambda: "is listening" in log.read_text() or process.poll() is not None, timeout_s=120)
            assert process.poll() is None, log.read_text()
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, trust_env=False) as client:
                yield client
        finally:
            process.terminate()


def send(prism, operation, prefer=""):
    """A sound request, made of the first examples."""
    shown = {parameter["name"]: parameter for parameter in PARAMETERS.values()}
    path = operation.path
    for name in operation.path_parameters:
        path = path.replace(f"{{{name}}}", next(iter(shown[name]["examples"].values()))["value"])
    body = next(iter(operation.request_examples.values()), None)
    headers = {"x-api-key": "knouds_live_any", **({"prefer": prefer} if prefer else {})}
    return prism.request(operation.method, path, headers=headers, json=body)


@pytest.mark.parametrize(("operation", "status", "name"), EXAMPLES)
def test_example_is_answered(prism, operation, status, name):
    response = send(prism, operation, f"code={status}, example={name}")

    assert response.status_code == status
    assert response.json() == operation.responses[status].examples[name]


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.id)
def test_sound_request_is_answered_with_a_success(prism, operation):
    response = send(prism, operation)

    assert response.status_code == 200
    assert response.json() in operation.responses[200].examples.values()
