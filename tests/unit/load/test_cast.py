"""Who sends load, and in whose turn."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from load_answers import persona

from knouds_harness.errors import UsageError
from knouds_harness.load.cast import senders, shares, turns
from knouds_harness.target.profile import Target

PIA, BEA = persona(), persona("business", user="bea", tier="business")
ADA = persona("full", user="ada", tier="enterprise")


def target(*keys):
    """Nothing but keys."""
    return Target(name="staging", base_url="http://127.0.0.1:1", personas={key.name: key for key in keys})


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((PIA, BEA, ADA), {"full"}),
        ((PIA, BEA), {"pro", "business"}),
        ((PIA, persona("less", capabilities={"workflow:run"})), {"pro"}),
        ((PIA, persona("gone", user="x", state="revoked")), {"pro"}),
        ((PIA, persona("root", user="x", role="admin")), {"pro"}),
        ((PIA, persona("broke", user="x", credits="none")), {"pro"}),
        ((PIA, persona("free", user="x", tier="free")), {"pro"}),
        ((PIA, persona("deaf", user="x", capabilities={"model:run"})), {"pro"}),
    ],
)
def test_senders_are_able_accounts_without_a_limit_if_there_are_any(keys, expected):
    """One key of each, the ablest."""
    assert {each.name for each in senders(target(*keys), ("workflow:run",))} == expected


def test_lowest_limit_is_the_one_to_cross():
    """It costs least."""
    (sender,) = senders(target(BEA, PIA, ADA), ("workflow:run",), with_limit=True)

    assert sender is PIA


def test_without_a_limited_account_nothing_can_be_crossed():
    """The error says which tiers would do."""
    with pytest.raises(UsageError, match=r"of the tier pro or business holds workflow:run"):
        senders(target(ADA), ("workflow:run",), with_limit=True)


def test_turns_keep_the_shares_all_along():
    """Not ten in a row and then another: any stretch is as even as it can be."""
    in_turn = [each.user for each in islice(turns((PIA, BEA)), 110)]

    assert Counter(in_turn) == {"bea": 100, "pia": 10}
    assert all(Counter(in_turn[start : start + 11])["pia"] == 1 for start in range(100))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ((ADA, persona("other", user="x", tier="enterprise")), (0.5, 0.5)),
        ((PIA, persona("partner", user="x", tier="partner")), (0.5, 0.5)),
        ((PIA, BEA), (1 / 11, 10 / 11)),
    ],
    ids=["no limits", "a limit that no source tells", "by limits"],
)
def test_shares(keys, expected):
    """As much of the load as an account's limit is of all."""
    assert shares(keys) == pytest.approx(expected)
