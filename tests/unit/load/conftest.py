"""Locust without gevent's patches: the tests of load run in the same process as all others."""

import importlib

import pytest

with pytest.MonkeyPatch.context() as patch:
    patch.setenv("LOCUST_SKIP_MONKEY_PATCH", "1")
    importlib.import_module("locust")
