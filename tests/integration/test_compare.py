"""``knouds-harness compare`` as a user meets it: sides, exit codes, pages, and rounds of runs."""

import json

import pytest
from checking import knouds
from example_targets import write_profile
from load_records import load_run, lognormal_seconds
from run_records import healthy

from knouds_sandbox.serving import running_sandbox


def compare(*arguments, cwd):
    return knouds("compare", *arguments, cwd=cwd)


@pytest.fixture
def loads(tmp_path):
    """Make run folders of loads of one server."""

    def made(count=3, *, median_ms=100.0, **options):
        first = len(list(tmp_path.glob("load*")))
        return [
            load_run(
                tmp_path / f"load{number}",
                {"whoami": lognormal_seconds(number, median_ms=median_ms, seconds=10)},
                **options,
            )
            for number in range(first, first + count)
        ]

    return made


def test_slower_candidate_ends_with_exit_code_1(tmp_path, loads):
    before, after = loads(), loads(median_ms=150)

    baseline = [word for folder in before for word in ("--baseline", folder)]
    process = compare(*baseline, *after, cwd=tmp_path)

    assert process.returncode == 1, process.stderr
    assert process.stdout.strip().startswith("Worse  whoami p50")
    stored = json.loads((after[-1] / "compare.json").read_text(encoding="utf-8"))
    assert (stored["exit_code"], len(stored["baseline"]), len(stored["candidate"])) == (1, 3, 3)
    assert (after[-1] / "compare.html").is_file()
    assert (after[-1] / "compare.md").is_file()


def test_kept_summary_can_be_named_as_a_side(tmp_path, loads):
    before = loads()
    kept = compare("--keep", "spring", *before, cwd=tmp_path)
    for folder in before:
        (folder / "run.json").unlink()

    process = compare("spring", *loads(), "--output", "compared", cwd=tmp_path)

    assert kept.stdout == "kept 3 runs as reports/baselines/spring.json\n"
    assert process.returncode == 0, process.stdout + process.stderr
    assert (tmp_path / "compared" / "compare.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["only-one"], "name a baseline and at least one run"),
        (["--keep", "name"], "name the runs to keep"),
        (["--scenario", "reads", "a", "b"], "--scenario belongs to --repeat"),
        (["--repeat", "2"], "name a scenario"),
        (["--repeat", "2", "--scenario", "writes"], 'no scenario "writes"'),
        (["LOAD", "CHECK"], "they do not compare\n  Name runs of one kind"),
        (["LOAD", "LOAD", "--objectives", "none.toml"], "none.toml: cannot be read"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_message(tmp_path, loads, arguments, says):
    places = {"LOAD": lambda: loads(1)[0], "CHECK": lambda: healthy(tmp_path / "check")}

    process = compare(*(places[each]() if each in places else each for each in arguments), cwd=tmp_path)

    assert process.returncode == 2
    assert says in process.stderr
    assert not list(tmp_path.rglob("compare.*"))


@pytest.mark.nightly
@pytest.mark.slow
def test_two_targets_are_loaded_in_turn(tmp_path):
    """Each round loads both, and the results are compared; on a busy machine they may be invalid."""
    rounds = ("--repeat", "2", "--scenario", "reads", "--seed", "3")
    process = compare(*rounds, "--", "--rate", "40", "--duration", "3s", cwd=tmp_path)

    assert process.returncode in (0, 1, 5), process.stderr
    lines = [
        line for line in process.stderr.splitlines() if line.startswith("round ") and "once more" not in line
    ]
    assert sorted(line.split(":")[0] for line in lines) == [
        f"round {number} of 2, {side}" for number in (1, 2) for side in ("baseline", "candidate")
    ]
    assert len(list(tmp_path.glob("reports/runs/*-load-*"))) >= 4
    assert list(tmp_path.rglob("compare.html"))


def test_unusable_side_is_named_before_any_load(tmp_path):
    """So no run of the other side is made, and paid for, in vain."""
    rounds = ("--repeat", "2", "--scenario", "reads", "--candidate-target", "nowhere")
    process = compare(*rounds, "--", "--rate", "40", cwd=tmp_path)

    assert process.returncode == 2
    assert 'no target "nowhere"' in process.stderr
    assert not list(tmp_path.rglob("run.json"))


@pytest.mark.slow
def test_unreachable_side_ends_the_rounds(tmp_path):
    with running_sandbox() as sandbox:
        profile = write_profile(tmp_path, sandbox)
    rounds = ("--repeat", "2", "--scenario", "reads", "--candidate-target", profile)
    process = compare(*rounds, "--", "--rate", "40", "--duration", "1s", cwd=tmp_path)

    assert process.returncode == 3
    assert sandbox.base_url in process.stderr
    assert "The runs so far are kept in reports/runs" in process.stderr
    assert not list(tmp_path.rglob("compare.html"))
