"""The reference of profiles names every key, and the examples of both pages are valid."""

import re
import tomllib

import pytest
from pydantic import TypeAdapter

from knouds_harness.locations import builtin_targets_path
from knouds_harness.targets.http_settings import HttpSettings
from knouds_harness.targets.profile import Control, Expect, Limits, Model, Persona, Target, Webhook, Workflow
from knouds_harness.targets.profile_format import AS_A_PROFILE, keys_of
from knouds_harness.targets.resources import Waiver

DOCS = builtin_targets_path().parent / "docs"
GUIDE = (DOCS / "targets.md").read_text(encoding="utf-8")
REFERENCE = (DOCS / "profile-reference.md").read_text(encoding="utf-8")
TABLES = (Target, Limits, Persona, Workflow, Model, HttpSettings, Webhook, Control, Waiver, Expect)
KEYS = sorted({key for table in TABLES for key in keys_of(table)})
EXAMPLES = re.findall(r"```toml\n(.*?)```", GUIDE + REFERENCE, re.DOTALL)


@pytest.mark.parametrize("key", KEYS)
def test_reference_names_every_key(key: str):
    assert re.search(rf"[`\[.]{key}[`\].]", REFERENCE)


@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid_profiles(example: str):
    TypeAdapter(Target).validate_python(tomllib.loads(example), context=AS_A_PROFILE)
