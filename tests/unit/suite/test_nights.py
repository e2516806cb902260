"""Nights with few credits: what was not paid for longest comes first, and all nights count together."""

from datetime import date, timedelta

import pytest

from knouds_harness.errors import UsageError
from knouds_harness.suite.nights import Nights, read_nights, write_nights

FIRST = date(2026, 11, 24)
EDGES, SHAPE = "execution.edges", "whoami.shape"


def night(number):
    return FIRST + timedelta(days=number)


def test_facts_of_all_nights_count_and_the_oldest_is_named(tmp_path):
    """A file keeps them from night to night; it is made by the first."""
    path = tmp_path / "baselines" / "staging-nights.json"

    for number, verified in enumerate(({EDGES}, {SHAPE}, {SHAPE})):
        nights = read_nights(path).with_night(night(number), paid={"a", "b"}, verified=verified, broken=())
        write_nights(path, nights)

    kept = read_nights(path)
    assert kept.paid == {"a": night(2), "b": night(2)}
    assert list(kept.lines({EDGES, SHAPE, "usage.filters"}, {SHAPE: 80.0, "usage.filters": 55.0})) == [
        "With earlier nights 2 of 3 facts verified, the oldest on 2026-11-24.",
        "needs 55 credits in one night: usage.filters",
    ]


def test_fact_that_fails_in_some_nights_is_unsteady():
    nights = Nights()
    for number in range(5):
        is_broken = number in (1, 3)
        broken, verified = ({EDGES}, ()) if is_broken else ((), {EDGES})
        nights = nights.with_night(night(number), paid=(), verified=verified, broken=broken)

    assert list(nights.lines({EDGES}, {}))[1:] == [
        "unsteady: execution.edges was in breach on 2026-11-27, 2026-11-25, and last verified on 2026-11-28"
    ]
    later = nights.with_night(night(40), paid=(), verified={EDGES}, broken=())
    assert len(list(later.lines({EDGES}, {}))) == 1


def test_breach_is_an_alarm_in_the_last_of_so_many_nights_in_a_row():
    """A night in which the fact was not tested does not count, and one that verified it begins anew."""
    alarms, nights = [], Nights()
    for number, is_broken in enumerate((True, None, True, False, True, True, True)):
        waived = {each.fact for each in nights.waivers(3, {EDGES, SHAPE}, night(number))}
        assert SHAPE in waived
        alarms.append(is_broken is True and EDGES not in waived)
        broken, verified = ({EDGES} if is_broken else ()), ({EDGES} if is_broken is False else ())
        nights = nights.with_night(night(number), paid=(), verified=verified, broken=broken)

    assert alarms == [False, False, False, False, False, False, True]
    assert not Nights().waivers(1, {EDGES}, FIRST)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"x": 1}', b'{"format": "other"}', b'{"paid": {"a": "soon"}}', b"\xff"]
)
def test_another_file_is_refused(tmp_path, content):
    path = tmp_path / "nights.json"
    path.write_bytes(content)

    with pytest.raises(UsageError, match="not a file that --rotate wrote"):
        read_nights(path)
