"""What a run costs whose answer was lost: usage shows it, and the budget counts it at its price."""

import pytest

from knouds_harness.exchange.client import Client
from knouds_harness.exchange.evidence import Request
from knouds_harness.targets.builtin import open_target
from knouds_sandbox.serving import running_sandbox

PRICE_CREDITS = 8


@pytest.mark.parametrize("wire", ["drop", "reset", "cut"])
def test_lost_runs_are_charged_as_usage_shows(wire, tmp_path, monkeypatch):
    """Two lost runs, and a refused one, which counts as charged as nobody has seen the refusal."""
    monkeypatch.chdir(tmp_path)
    with running_sandbox(prefer=True) as sandbox:
        monkeypatch.setenv("KEY", sandbox.keys["pro"])
        (tmp_path / "own.toml").write_text(
            f'base_url = "{sandbox.base_url}"\n[limits]\ncredits = 100\nallow = ["read", "run"]\n'
            '[keys.pro]\nsecret_env = "KEY"\nuser = "pia"\ntier = "pro"\n'
            'capabilities = ["workflow:run"]\n'
            f'[workflows.pia-portrait]\nowner = "pia"\ncost_credits = {PRICE_CREDITS}\n'
        )
        with open_target("own.toml") as target, Client(target=target, reads_usage=True) as client:

            def lost(body: bytes, preferred: str) -> str | None:
                return client.send(
                    Request(
                        method="POST",
                        path="/api/workflows/pia-portrait/run",
                        persona="pro",
                        headers=(("content-type", "application/json"), ("prefer", preferred)),
                        body=body,
                        cost_credits=PRICE_CREDITS,
                    )
                ).failure

            failures = [lost(b'{"inputs": {}}', f"wire={wire}") for _ in range(2)]
            failures.append(lost(b'{"inputs": []}', f"wire={wire}"))
            shown = client.note_charges()

    assert None not in failures
    assert shown.credits == 2 * PRICE_CREDITS
    assert client.guard.budget.spent_credits == 3 * PRICE_CREDITS
