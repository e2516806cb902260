"""What holds for every test of the harness: loopback only, and nothing of the user's environment."""

from __future__ import annotations

import os

import hypothesis
import pytest

hypothesis.settings.register_profile("dev", max_examples=50, deadline=None)
hypothesis.settings.register_profile("nightly", max_examples=2_000, deadline=None)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse other hosts than loopback; the conformance suite has guards of its own."""
    for item in items:
        if not item.get_closest_marker("proves"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))


@pytest.fixture(autouse=True)
def clean_environ(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clear ``KNOUDS_*``, apart from the conformance suite, whose keys may be there."""
    if not request.node.get_closest_marker("proves"):
        for name in [name for name in os.environ if name.startswith("KNOUDS_")]:
            monkeypatch.delenv(name)
