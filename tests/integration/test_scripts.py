"""The script of a finding shows it again, and recorded traffic shows what one response shows.

A sample of the faults stands for each way in which that is done; with ``EVERY_FAULT=1`` (``nox -s scripts``)
all are tried. Scripts of random sequences are short, and finding them takes few requests.
"""

import json
import os
import re
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from checking import TRIES_ALL, findings_of, knouds, only_record, run_program, sampled
from raw_server import Answered, Relayed, proxying

from knouds_harness.exchange.evidence import Exchange
from knouds_harness.exchange.script import AT_ONCE, parts_of
from knouds_harness.judging.checks.executions import MOST_SUBMIT_MS
from knouds_harness.judging.checks.rate_limits import seconds_left
from knouds_harness.judging.engine import PROFILE_CHECK
from knouds_harness.runs.findings import Finding
from knouds_harness.runs.record import RunRecord, read_run
from knouds_harness.suite.recorded.verification import verify
from knouds_harness.targets.builtin import target_environment
from knouds_sandbox.faults import FAULTS

if shutil.which("curl") is None and os.environ.get("CI"):
    pytest.fail("curl is missing: what is pasted into a shell cannot be tried")
pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl and bash")

# Faults that a script alone does not show; each finding says so in its first lines.
NOT_BY_SCRIPT = {
    # curl starts one process for each request: they may miss the moment
    *("create-twins-share-a-slug", "rate-simultaneous-uncounted", "execution-second-cancel-is-404"),
    *("usage-at-once-mixed-up", "whoami-at-once-mixed-up"),
    # the fault shows by chance
    *("execution-regresses-now-and-then", "update-shows-late-now-and-then"),
    # what is left out depends on all that the account ran before
    *("usage-lacks-every-tenth-run", "usage-models-lacks-the-last"),
    "execution-names-the-latest",  # it rests on several executions and all polls of them
    "schema-cuts-description",  # its body is in exchanges.har, as its line says
    "usage-repeats-what-is-given-up",  # curl waits for the answer, and this client did not
    # deliveries go to a receiver, which a script of curl lines has not
    *(fault.id for fault in FAULTS if fault.fact.startswith("webhook.")),
}

# What one request shows to an account with a longer history than those of a fresh sandbox.
NOT_ON_A_FRESH_SANDBOX = {"usage-limit-defaults-to-20"}

# Facts about a resource or an account of a kind that only the profile names.
OF_THE_PROFILE = {
    *("model.above-tier-is-403", "model.disabled-is-404", "run.foreign-workflow-is-404"),
    *("run.exhausted-grant-is-402", "run.granted-run-costs-zero", "run.provider-failure-is-500"),
    *("schema.empty-without-request-input", "schema.public-only-when-public"),
}
# Faults that one response shows to its sender, but recorded traffic does not.
NOT_BY_VERIFY = {
    *(fault.id for fault in FAULTS if fault.fact in OF_THE_PROFILE),
    *("run-without-credits-accepted", "run-async-without-credits-accepted"),
    *("workflows-list-shows-foreign", "write-to-foreign-template-accepted"),
    "capability-denied-is-404",  # another refusal may come first: the order of checks is open
    "create-refuses-what-get-shows",  # only the test knows that this document was read before
}

TRIES_AT_ONCE = 30

SAMPLE = {
    "auth-cut-key-accepted": "an altered key, in one line",
    "auth-unknown-key-accepted": "a key of nobody",
    "capability-write-implies-read": "a minted key",
    "create-slug-lacks-digits": "a created workflow",
    "run-malformed-body-is-invalid-inputs": "a body that is not JSON",
    "usage-limit-defaults-to-20": "an account with a history",
    "usage-row-names-the-cheapest": "a run, and its row of usage",
    "whoami-admin-is-user": "a profile that the target contradicts",
    "rate-refusal-lacks-tier": "a window that is filled in a loop, after the clock was moved",
}
SUITE = Path(__file__).parents[1] / "conformance"
BASE_URL = "KNOUDS_SANDBOX_URL"
_NEW_EACH_TIME = re.compile(r"id|createdAt|updatedAt|ms|durationMs|date|content-length")
_NAMES = re.compile(r"requestId|executionId|pollUrl|x-ratelimit-reset")
_LONGEST_WINDOW_S = 62


def answers_to(finding: Finding, record: RunRecord, *faults: str) -> list[Exchange]:
    """Return what the reproduction of a finding gets in a shell, on a fresh sandbox with these faults."""
    answers: list[tuple[Answered, float]] = []

    def note(_: Relayed, asked: Callable[[], Answered]) -> bytes:
        sent_s = time.monotonic()
        answered = asked()
        answers.append((answered, 1000 * (time.monotonic() - sent_s)))
        return answered.in_bytes()

    with (
        target_environment("sandbox", seed=record.setup.seed, faults=faults) as announced,
        proxying((environ := announced())[BASE_URL], note) as proxy,
    ):
        run_program("bash", "-c", finding.reproduction, env={**environ, BASE_URL: proxy.base_url})
    return [
        replace(
            step,
            status=answered.status,
            headers=tuple(answered.headers),
            body=answered.content,
            elapsed_ms=elapsed_ms,
        )
        for step, (answered, elapsed_ms) in zip(steps_of(finding, record), answers, strict=False)
    ]


def steps_of(finding: Finding, record: RunRecord) -> list[Exchange]:
    """Return the requests in the script of a finding."""
    ids = finding.steps if finding.script.startswith("sh ") else (finding.exchange_id or "",)
    steps = [record.exchange_by_id[each] for each in ids]
    return [step for step in steps if step.url.startswith(record.setup.target.base_url)]


def is_shown(finding: Finding, record: RunRecord, *answers: Sequence[Exchange]) -> bool:
    """Return whether the first server answers as the one in the run did, and otherwise than each other.

    The others differ from it only in the fault, and from each other only in values that are new each time.
    """
    steps = steps_of(finding, record)
    first_of_part = [
        part.first if part.is_at_once else number
        for part in parts_of(steps, apart=finding.exchange_id)
        for number in range(part.first, part.first + len(part.steps))
    ]
    in_run, here, *there = (_features(first_of_part, each) for each in (steps, *answers))
    is_added = not (here & in_run).issubset(set().union(*there))
    return is_added or not set.intersection(*there).issubset(here | in_run)


def _features(places: Sequence[int], answers: Sequence[Exchange]) -> set[tuple[object, ...]]:
    """Return the contents of the responses by step (concurrent steps together), and how often each occurs.

    Of what is new each time, the form; names are also numbered by their first occurrence.
    """
    counts: Counter[tuple[object, ...]] = Counter()
    names: dict[object, str] = {}
    for at, each in zip(places, answers, strict=False):
        for place, value in _in_answer(each):
            name, known = place.rpartition("/")[2], value
            if _NEW_EACH_TIME.fullmatch(name):
                known = re.sub(r"\w{7,}", "long", re.sub(r"\b\w{1,6}\b", "x", str(value)))
            elif _NAMES.fullmatch(name):
                counts[at, f"form of {place}", re.sub(r"\w", "x", str(value))] += 1
                known = names.setdefault(value, f"name {len(names)}")
            counts[at, place, known] += 1
    counted = {(*feature, count) for feature, count in counts.items()}
    return counted | counts.keys() | {feature[:2] for feature in counts}


def _in_answer(exchange: Exchange) -> Iterator[tuple[str, object]]:
    yield "status", exchange.status
    if dict(exchange.request.query).get("async"):
        yield "is slow", exchange.elapsed_ms > MOST_SUBMIT_MS
    left_s = seconds_left(exchange, advanced_s=0)
    yield "ends late", left_s is not None and left_s > _LONGEST_WINDOW_S
    yield from ((name.lower(), value) for name, value in exchange.headers)
    yield from _values(exchange.json_or_none(), "")


def _values(value: object, place: str) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield f"{place}/", "an object"
        for name, each in value.items():
            yield from _values(each, f"{place}/{name}")
    elif isinstance(value, list):
        yield f"{place}/length", len(value)
        for index, each in enumerate(value):
            yield from _values(each, f"{place}/*")
            yield from _values(each, f"{place}/{index}")
    else:
        yield place, json.dumps(value)


def shows(finding, record, fault):
    """Return whether the script shows the finding at a broken server, and not at a healthy one.

    A script with concurrent requests shows the finding only sometimes, so it is tried again.
    """
    for _ in range(TRIES_AT_ONCE if AT_ONCE in finding.reproduction else 1):
        if is_shown(finding, record, *(answers_to(finding, record, *each) for each in ([fault.id], [], []))):
            return True
    return False


TRIED = sorted((each for each in FAULTS if TRIES_ALL or each.id in SAMPLE), key=lambda each: each.id)


@pytest.mark.parametrize("fault", sampled(TRIED, every=3), ids=lambda fault: fault.id)
def test_finding_is_shown_again(fault, tmp_path):
    """By its script in bash, and by the run's own exchanges if one response shows it."""
    record, findings = findings_of(fault, tmp_path)

    if fault.id in NOT_BY_SCRIPT:
        of_tests = [each for each in findings if each.check != PROFILE_CHECK]  # that sends many at once, too
        assert all(each.reproduction.startswith(("sh ", "# ")) for each in of_tests)
    elif fault.id not in NOT_ON_A_FRESH_SANDBOX:
        assert any(shows(finding, record, fault) for finding in findings), findings[0].reproduction

    if any(not finding.steps for finding in findings) and fault.id not in NOT_BY_VERIFY:
        har = record.folder / "exchanges.har"
        _, folder = verify(har, base_url=None, strict=False, runs_folder=tmp_path / "verify")
        assert fault.fact in {each.fact for each in read_run(folder).findings}


def test_lists_name_existing_faults():
    known = {fault.id for fault in FAULTS}

    assert NOT_BY_SCRIPT | NOT_BY_VERIFY | SAMPLE.keys() | NOT_ON_A_FRESH_SANDBOX <= known
    assert {fault.fact for fault in FAULTS} >= OF_THE_PROFILE
    assert not NOT_BY_SCRIPT & SAMPLE.keys()


KEPT, FACT_OF_KEPT = "delete-keeps-the-workflow", "workflows.delete-then-404"


@pytest.fixture(scope="module")
def found_by_sequences(tmp_path_factory):
    """The record of the random sequences alone, on a sandbox with a fault, and what they found."""
    folder = tmp_path_factory.mktemp("sequences")
    suite = ("-c", SUITE / "suite.ini", "--rootdir", SUITE, "-p", "knouds_harness.suite.plugin")
    options = ("--fault", KEPT, "--seed", "1", "--runs-folder", folder)
    run_program(*(sys.executable, "-m", "pytest", *suite, *options, SUITE / "test_workflow_sequences.py"))
    record = only_record(folder)
    return record, next(each for each in record.findings if each.fact == FACT_OF_KEPT)


def test_script_of_a_sequence_shows_only_the_broken_server(found_by_sequences):
    record, finding = found_by_sequences

    broken, sound = (answers_to(finding, record, each) for each in (KEPT, "whoami-is-203"))

    statuses = [(each.status, other.status) for each, other in zip(broken, sound, strict=True)]
    assert {(each, other) for each, other in statuses if each != other} == {(200, 404)}


@pytest.mark.nightly
def test_replay_sends_the_sequence_again(found_by_sequences, tmp_path):
    record, finding = found_by_sequences

    broken, mended = (
        knouds("replay", record.folder, finding.fingerprint, *options, cwd=tmp_path)
        for options in ((), ("--healthy",))
    )

    assert broken.stdout.startswith("still stands"), broken.stdout + broken.stderr
    assert mended.stdout.startswith("gone"), mended.stdout + mended.stderr
