"""Write profiles for tests."""

from pathlib import Path

import pytest

from knouds_harness.targets.profile import load_target


@pytest.fixture
def load(tmp_path: Path):
    """Write a profile named ``staging`` and load it; keyword arguments are environment variables."""

    def load(text: str, **environ: str):
        (tmp_path / "staging.toml").write_text(text, encoding="utf-8")
        return load_target(str(tmp_path / "staging.toml"), environ=environ)

    return load
