"""Portman: makes a Postman collection with contract tests of the document; newman runs it."""

from __future__ import annotations

import json
from pathlib import Path

from counted import Counted
from peers import PeerFailed, comparable, install_npm, run_peer
from prepared import write_openapi_30

_PACKAGES = ("@apideck/portman@1.33.0", "newman@6.2.2", "tslib@2")
_TESTS = ("statusSuccess", "contentType", "jsonBody", "schemaValidation", "headersPresent")
_CONFIG = {
    "version": 1.0,
    "globals": {"securityOverwrites": {"apiKey": {"value": "{{key}}", "key": "x-api-key", "in": "header"}}},
    "tests": {"contractTests": [{"openApiOperation": "*::/*", test: {"enabled": True}} for test in _TESTS]},
}


def install() -> str:
    """Put it in the cache; returns its version and newman's."""
    modules = install_npm("portman", *_PACKAGES).parent
    versions = [
        json.loads((modules / name / "package.json").read_text(encoding="utf-8"))["version"]
        for name in ("@apideck/portman", "newman")
    ]
    return " with newman ".join(versions)


def run(sandbox: Counted, folder: Path) -> set[str]:
    """Every failed assertion."""
    programs = install_npm("portman", *_PACKAGES)
    (folder / "portman.json").write_text(json.dumps(_CONFIG), encoding="utf-8")
    document = write_openapi_30(sandbox, folder)
    run_peer(
        [
            *(str(programs / "portman"), "-l", document, "-b", sandbox.base_url),
            *("-c", "portman.json", "-o", "collection.json"),
        ],
        folder=folder,
    )
    ended = run_peer(
        [
            *(str(programs / "newman"), "run", "collection.json", "--env-var", f"baseUrl={sandbox.base_url}"),
            *("--env-var", f"key={sandbox.keys['business']}"),
            *("--reporters", "json", "--reporter-json-export", "newman.json"),
        ],
        folder=folder,
    )
    try:
        report = json.loads((folder / "newman.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as problem:
        raise PeerFailed(f"no report: {problem}; {ended.stderr[-200:]}") from None
    return {
        comparable(f"{failure['error'].get('test', failure['at'])}: {failure['error']['message']}")
        for failure in report["run"]["failures"]
    }
