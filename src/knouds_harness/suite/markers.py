"""The markers of conformance tests, as ``pytest --markers`` lists them."""

from __future__ import annotations

from typing import Final

MARKERS: Final = {
    "proves(*checks)": "the checks that the test drives, its own first",
    "needs(*needs)": "what the profile must offer, besides what the test's own check needs",
    "shows(fact, *needs)": "of its checks' facts, the test shows these alone, where the needs are met",
    "succeeds(*operation_ids)": "these operations succeed in the test, so that their shapes are shown",
    "spends(runs)": "what the test runs and pays for: runs(target)",
    "thorough": "repeats another test with more cases; --quick leaves it out",
    "waits": "changes and sees nothing of other tests, and waits for its own runs: starts early, beside all",
    "runs": "may run something, although it asks for nothing that it runs",
    "limited": "counts the runs of an account with a rate limit: last, or first where a window is filled",
    "fills_window": "has the target throttle an account: last of all, or beside others where that takes long",
    "independent": "changes and sees nothing of other tests, so that it may run beside others of its kind",
    "sequence": "a finding of the test is shown by all requests that it sent before",
    "operations(secured=None, ids=None, shows={}, records={})": "parametrize `operation` over the document",
    "records(outcome, *statuses, needs=(), story=None, spends=None)": "`record` keeps this outcome",
    "user_test": "set by the plugin on a user's own tests that use its fixtures",
}
