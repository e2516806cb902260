"""Locust without its patches: the tests of load run in the process of all the others."""

import importlib

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    importlib.import_module("locust")
