"""Counts of promises."""

from knouds_harness.load.invariants.tallies import Tallies


def test_promises_are_listed_broken_first_unseen_last():
    """An example of a broken one replaces one of an excused one."""
    tallies = Tallies()
    tallies.judge("a.kept", "Kept.", holds=True, example="")
    tallies.judge("b.excused", "Excused.", holds=True, example="")
    tallies.break_("b.excused", "Excused.", example="x", is_excused=True)
    tallies.see("c.broken", "Broken.", 2)
    tallies.break_("c.broken", "Broken.", example="an excused one", is_excused=True)
    tallies.break_("c.broken", "Broken.", example="a broken one")

    found = tallies.invariants(needs={("a.kept", "Kept."): "nothing", ("d.unseen", "Unseen."): "a miracle"})

    assert [each.state for each in found] == ["broken", "excused", "kept", "untested"]
    assert (found[0].seen, found[0].broken, found[0].excused, found[0].example) == (2, 1, 1, "a broken one")
    assert found[-1].missing == "a miracle"
