"""Profiles as small as an ordinary customer's: a key or two of a sandbox, and what they may run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from knouds_sandbox.serving import RunningSandbox

PRO = (
    *("workflow:run", "workflow:read", "workflow:write"),
    *("execution:read", "execution:cancel", "webhook:receive"),
)
"""Everything that a pro account may grant."""
PORTRAIT = '[workflows.pia-portrait]\nowner = "pia"\ncost_credits = 8\ninputs = { prompt = "x" }\n'
CLIP = """[workflows.sunset-clip]
owner = "ada"
polled = true
deadline_s = 30
cost_credits = 80
inputs = { prompt = "x" }
"""
IMAGE = '[models.gpt-image-2]\npolled = true\ncost_credits = 20\ninputs = { prompt = "x" }\n'


@dataclass(kw_only=True)
class SmallProfile:
    """A profile that is put together key by key.

    Attributes:
        folder: Gets the profile and its secrets.
        sandbox: Whose keys are used.
        limits: Lines of ``[limits]``.
    """

    folder: Path
    sandbox: RunningSandbox
    limits: str = 'credits = 10_000\nallow = ["read", "write", "run", "cancel"]'
    tables: list[str] = field(default_factory=list)

    def key(
        self,
        name: str,
        capabilities: Collection[str],
        *,
        user: str,
        tier: str,
        secret: str | None = None,
    ) -> SmallProfile:
        """Add a key of the sandbox's, or one with another secret."""
        (self.folder / f"key-{name}").write_text(secret or self.sandbox.keys[name], encoding="utf-8")
        held = ", ".join(f'"{each}"' for each in capabilities)
        self.tables.append(
            f'[keys.{name}]\nsecret_file = "key-{name}"\ncapabilities = [{held}]\n'
            f'user = "{user}"\ntier = "{tier}"\n'
        )
        return self

    def resource(self, table: str) -> SmallProfile:
        """Add a workflow or a model."""
        self.tables.append(table)
        return self

    def written(self, *, base_url: str | None = None) -> str:
        """Write it, for the sandbox or what stands before it; the path."""
        path = self.folder / "small.toml"
        text = [f'base_url = "{base_url or self.sandbox.base_url}"\n[limits]\n{self.limits}\n', *self.tables]
        path.write_text("\n".join(text), encoding="utf-8")
        return str(path)


def scenario_of(folder: Path, body: str) -> str:
    """A Locust file of one's own."""
    path = folder / "mine.py"
    path.write_text(
        '"""Does it work?"""\n'
        "from locust import constant, events, task\n"
        "from knouds_harness.load.tasks import list_usage, who_am_i\n"
        "from knouds_harness.load.plugin import install\n"
        "from knouds_harness.load.scenario import ScenarioUser\n\n"
        f"install(events)\n\n\nclass Mine(ScenarioUser):\n    wait_time = constant(0.05)\n{body}"
    )
    return str(path)


def first_line(out: str) -> str:
    """What stands first."""
    return out.strip().splitlines()[0]
