"""Counting promises."""

from knouds_harness.load.invariants.invariants import Tallies

FACT = ("async.execution-id-is-fresh", "Fresh.")


def test_tallies_of_processes_add_up():
    """Seen, broken and excused, and an example of a broken one before one of an excused one."""
    one, other = Tallies(), Tallies()
    one.see(*FACT, 3)
    one.break_(*FACT, example="an excused one", is_excused=True)
    other.see(*FACT, 2)
    other.break_(*FACT, example="a broken one")

    one.add(Tallies.unpacked(other.packed()))

    (invariant,) = one.invariants(needs={})
    assert (invariant.seen, invariant.broken, invariant.excused) == (5, 1, 1)
    assert invariant.example == "a broken one"
    assert invariant.state == "broken"


def test_broken_ones_stand_first_and_unseen_ones_last():
    tallies = Tallies()
    tallies.judge("a.kept", "Kept.", holds=True, example="")
    tallies.judge("b.excused", "Excused.", holds=True, example="")
    tallies.break_("b.excused", "Excused.", example="x", is_excused=True)
    tallies.judge("c.broken", "Broken.", holds=False, example="y")

    invariants = tallies.invariants(
        needs={("a.kept", "Kept."): "nothing", ("d.unseen", "Unseen."): "a miracle"}
    )

    assert [each.state for each in invariants] == ["broken", "excused", "kept", "untested"]
    assert invariants[-1].missing == "a miracle"
