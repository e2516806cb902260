"""Options of a load run, on the master and on its workers, which get only what is not Locust's own."""

import pytest
from load_workload import options, parsed
from locust.argument_parser import default_args_dict

from knouds_harness.errors import ExitCode, UsageError
from knouds_harness.load.options import read_options


@pytest.mark.parametrize(
    "asked",
    [
        ("--rate", "200", "--users", "400"),
        ("--users", "30"),
        ("--rate", "5"),
        ("--stages", "4s:5/s,6s:0/s"),
        ("--stages", "60s:7"),
    ],
)
def test_worker_has_the_options_of_the_master(asked):
    """Users, seed and duration come from the master's command line, as a worker's has none."""
    asked_s = () if "--stages" in asked else ("--run-time", "60")
    of_master, of_worker = parsed(*asked, *asked_s), parsed("--worker")
    options = read_options(of_master)

    sent = {name: value for name, value in vars(of_master).items() if name not in default_args_dict()}
    vars(of_worker).update(sent)

    assert read_options(of_worker) == options


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--base", "3"), "--base without --shape ramp or spike has no effect"),
        (("--base", "3", "--shape", "soak"), "--base without"),
        (("--steps", "7", "--shape", "ramp"), "--steps without --shape steps has no effect"),
        (("--spacing", "poisson", "--users", "4"), "--spacing without --rate has no effect"),
        (("--think", "1", "--rate", "4"), "--think with --rate has no effect"),
        (("--inputs-order", "random"), "--inputs-order without --inputs has no effect"),
        (("--stages", "9s:3/s", "--rate", "4"), "--rate beside --stages"),
        (("--stages", "9s:3/s", "--duration", "8"), "--duration beside --stages"),
        (("--stages", "9s:3", "--users", "4", "--shape", "soak"), "--shape and --users beside --stages"),
        (("--stages", "9s:3/s", "--base", "1"), "--base without"),
        (("--stages", "9s:9999999/s"), "at most 1,000,000 tasks"),
        (("--stages", "9s:9999999"), "at most 100,000 users"),
        (("--users", "9999999"), "at most 100,000 users"),
    ],
)
def test_option_without_effect_or_of_too_much_load_is_refused(asked, says):
    with pytest.raises(UsageError, match=says):
        options(*asked)


def test_stages_say_rate_users_and_duration():
    """Each stage goes in a straight line from the level before it, the first from 0."""
    found = options("--stages", "30s:50/s, 2m:200/s,30s:0/s")

    assert (found.rate, found.users, found.duration_s) == (200, 1000, 180)
    levels = [found.load_shape.level(at_s) for at_s in (0, 15, 30, 90, 150, 165)]
    assert levels == [0, 25, 50, 125, 200, 100]
    assert found.schedule is not None
    assert sum(1 for _ in found.schedule.instants()) == pytest.approx(found.load_shape.total, abs=1)


def test_stages_of_users_are_the_closed_model():
    found = options("--stages", "10s:20,10s:20")

    assert (found.rate, found.users, found.load_shape.peak, found.schedule) == (None, 20, 20, None)


@pytest.mark.parametrize(
    ("flag", "values", "says"),
    [
        ("--rate", ["inf", "nan", "1e300"], "--rate"),
        ("--credits", ["nan", "inf"], "--credits"),
        ("--duration", ["9" * 30], "--duration"),
        ("--warm-up", ["inf"], "--warm-up"),
        ("--verify", ["nan", "0"], "--verify"),
        ("--steps", ["9999999"], "--steps"),
        ("--think", ["-1", "2-1", "nan", "x", "1-", "1e9"], "write 0.5, or 0.5-2"),
        ("--stages", ["30s", "30s:x", "5x:3", "1s:-3", "1s:nan/s", "hold=30s"], "{!r} is not a stage"),
        ("--stages", ["1s:3,1s:3/s"], "write all in one unit"),
        ("--stages", ["1s:0,1s:0"], "no load at all"),
        ("--stages", ["none.txt"], "none.txt: cannot be read: No such file or directory"),
        ("--stages", ["a=30s:5/s,a=30s:9/s"], "two stages are called a"),
        ("--stages", ["stage 2=30s:5/s", "=30s:5/s", "*=30s:5/s"], "is not a name of a stage"),
    ],
)
def test_invalid_value_is_refused(flag, values, says, capsys):
    for value in values:
        with pytest.raises(SystemExit) as ended:
            parsed(f"{flag}={value}")

        assert ended.value.code == ExitCode.USAGE
        assert says.format(value) in capsys.readouterr().err


@pytest.mark.parametrize(("think", "think_s"), [("0.5", (0.5, 0.5)), ("0-2", (0, 2)), ("0", (0, 0))])
def test_think_time_is_read(think, think_s):
    assert options("--think", think).think_s == think_s


def test_stages_are_read_from_a_file(tmp_path):
    """One per line, with comments; workers get them as text, without the file."""
    path = tmp_path / "day.txt"
    path.write_text("# an ordinary day\n30s:50/s  # up\n\nmid day=2m:50/s,\n30s:0/s\n", encoding="utf-8")

    found = parsed("--stages", str(path))

    assert found.stages == "30s:50/s,mid day=2m:50/s,30s:0/s"
    shape = read_options(found).load_shape
    assert shape.duration_s == 180
    assert [each.name for each in shape.scaled(0.5).stages] == ["", "mid day", ""]


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        (("ramp",), [""]),
        (("steps", "--steps", "3"), ["step 1", "step 2", "step 3"]),
        (("spike", "--base", "3", "--spacing", "poisson"), ["base", "spike", "recovery"]),
        (("soak",), ["ramp", "hold"]),
    ],
)
def test_stages_of_a_shape_have_names(shape, names):
    found = options("--rate", "50", "--shape", *shape)

    assert [each.name for each in found.load_shape.stages] == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no stages"),
        ("30s:50/s\n30:x\n", "day.txt: '30:x' is not a stage"),
        ("30s:50/s\n" * 2_000, "day.txt: more than 1,000 stages"),
    ],
)
def test_file_without_stages_is_refused(tmp_path, capsys, text, says):
    (tmp_path / "day.txt").write_text(text, encoding="utf-8")

    with pytest.raises(SystemExit):
        parsed("--stages", str(tmp_path / "day.txt"))

    assert says in capsys.readouterr().err
