"""CI installs only from PyPI, and each file by its hash."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_lock_names_only_pypi_and_every_hash():
    """So no private index is used, and no file can change."""
    others = [each for each in LOCK["package"] if each["name"] != "knouds-harness"]
    files = [file for each in others for file in (*each.get("wheels", ()), each.get("sdist")) if file]

    assert {each["source"]["registry"] for each in others} == {"https://pypi.org/simple"}
    assert all(file["url"].startswith("https://files.pythonhosted.org/") for file in files)
    assert all(file["hash"].startswith("sha256:") for file in files)


def test_lock_meets_the_requirements_of_the_project():
    version_by_name = {each["name"]: each.get("version") for each in LOCK["package"]}
    groups = PROJECT["dependency-groups"].values()
    asked = [*PROJECT["project"]["dependencies"], *(each for group in groups for each in group)]

    for text in asked:
        if isinstance(text, str):
            requirement = Requirement(text)
            assert version_by_name[canonicalize_name(requirement.name)] in requirement.specifier
