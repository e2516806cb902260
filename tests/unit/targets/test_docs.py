"""The reference of profiles names every key that a profile may have, and the examples of both pages load."""

import re
import tomllib

import pytest
from pydantic import BaseModel

from knouds_harness.locations import builtin_targets_path
from knouds_harness.targets import profile_format
from knouds_harness.targets.profile_format import ProfileTable

DOCS = builtin_targets_path().parent / "docs"
GUIDE = (DOCS / "targets.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "profile-reference.md").read_text(encoding="utf-8")
TABLES = [
    each for each in vars(profile_format).values() if isinstance(each, type) and issubclass(each, BaseModel)
]
KEYS = sorted({key for table in TABLES for key in table.model_fields})
EXAMPLES = re.findall(r"```toml\n(.*?)```", GUIDE + REFERENCE, re.DOTALL)


@pytest.mark.parametrize("key", KEYS)
def test_reference_names_every_key(key: str):
    """In code style or as a table's heading."""
    assert re.search(rf"[`\[.]{key}[`\].]", REFERENCE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_have_the_right_shape(example: str):
    """Whoever copies one gets no error."""
    ProfileTable.model_validate(tomllib.loads(example))
