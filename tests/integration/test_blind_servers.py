"""Sound servers of other authors, directly and through intermediaries: only what those break is named.

The group ``blind`` has what Flask's needs; the others need Go, Node.js, and Ruby with Sinatra and Puma.
"""

import json
import re
import shutil
import threading
import unicodedata
from collections import Counter
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import httpx
import pytest
from blind import run as blind
from checking import FAILING, knouds, only_record
from example_targets import free_port
from raw_server import Answered, proxying

from knouds_harness.errors import ExitCode

LIMITS = blind.LIMITS.replace("concurrency = 8", "concurrency = 16\nfill_rate_windows = false")
CAUSES = ("503 text/plain from middlebox", "413 text/html from middlebox", "403 text/html from middlebox")
ODD = (b"<b>", b"<script", b"<!--", b"../", b"' or ", b"{{")


@contextmanager
def intermediary(base_url):
    """Serve what the server at ``base_url`` answers like a deployment that balances, filters and tidies."""
    in_flight = threading.Semaphore(12)

    def answer(relayed, asked):
        if not in_flight.acquire(blocking=False):
            return refusal(relayed, 503, "text/plain", b"no healthy upstream")
        try:
            if len(relayed.body) > 65_536:
                return refusal(relayed, 413, "text/html", b"<html>413 Request Entity Too Large</html>")
            if any(each in relayed.body.lower() for each in ODD):
                return refusal(relayed, 403, "text/html", b"<!doctype html><html>Attention required</html>")
            answered = asked()
            with suppress(ValueError, RecursionError):
                content = json.dumps(tidy(json.loads(answered.content)), allow_nan=False)  # of 1e999
                answered = replace(answered, content=content.encode())
            return answered.in_bytes()
        finally:
            in_flight.release()

    with proxying(base_url, answer) as server:
        yield server.base_url


def refusal(relayed, status, kind, content):
    headers = [("content-type", kind), ("server", "middlebox")]
    answer = Answered(status=status, reason="", headers=headers, content=content).in_bytes()
    return answer.removesuffix(content) if relayed.method == "HEAD" else answer


def tidy(value):
    """Trim texts, compose their characters and turn their line ends."""
    if isinstance(value, str):
        return unicodedata.normalize("NFC", value.replace("\r\n", "\n").replace("\r", "\n")).strip()
    if isinstance(value, dict):
        return {name: tidy(member) for name, member in value.items()}
    return [tidy(item) for item in value] if isinstance(value, list) else value


def skip_without(name):
    """Skip a test without what a server is made of."""
    if name == "flask":
        pytest.importorskip("waitress", reason="needs waitress, of the group blind")
    elif not shutil.which(name):
        pytest.skip(f"needs {name}")


@pytest.mark.nightly
@pytest.mark.parametrize("between", [nullcontext, intermediary])
@pytest.mark.parametrize("form", ["first", "other"])
@pytest.mark.parametrize("name", ["flask", "go", "node", "ruby"])
def test_only_the_intermediary_is_named(tmp_path, name, form, between):
    """Each kind of its own answers once."""
    skip_without(name)
    port = free_port()
    options = ["--webhook-url", f"http://127.0.0.1:{port}/", "--webhook-secret", blind.SIGNED_WITH]

    with (
        blind.serving(name, *options, *(["--other-way"] if form == "other" else [])) as said,
        between(said["base_url"]) as base_url,
    ):
        there = {**said, "base_url": base_url}
        text, secrets = blind.profile_of(there, blind.FUNDS[name], webhook_port=port, limits=LIMITS)
        (tmp_path / "blind.toml").write_text(text, encoding="utf-8")
        words = ("check", "--quick", "--seed", "1", "--runs-folder", "runs", "--target", "blind.toml")
        ended = knouds(*words, cwd=tmp_path, **dict[str, Any](secrets))

    found = [each for each in only_record(tmp_path / "runs").findings if each.verdict in FAILING]
    assert {each.check for each in found} <= {"envelopes.intermediary"}, ended.printed
    assert Counter(each.observed for each in found) <= Counter(CAUSES if between is intermediary else ())
    assert ended.returncode == (ExitCode.BREACH if found else ExitCode.KEPT), ended.printed


ACTIVE, REFUSED = ("pro_all", "pro_read", "pro_exec", "pro_wild"), ("pro_revoked", "pro_legacy", "unapproved")
TO_REFUSE = re.compile(r"# (?:\[keys\.(?:pro-revoked|unapproved)\]\n)(?:# .+\n)+")


def opened(text):
    """Return a profile of ``init`` as a user opens it: everything allowed, 60 credits, keys to be refused."""
    text = text.replace("credits = 0 #", "settle_s = 0\nfill_rate_windows = false\ncredits = 60 #")
    text = re.sub(r'  # "(write|run|cancel)",', r'  "\1",', text)
    text = re.sub(r"# (polled = true|deadline_s = 600) ", r"\1 ", text)
    return TO_REFUSE.sub(lambda found: re.sub("(?m)^# ", "", found[0]), text)


def charged(said):
    """Return the credits of all rows of the account's usage."""
    key = {"x-api-key": said["keys"][ACTIVE[0]]["secret"]}
    rows = httpx.get(f"{said['base_url']}/api/usage?limit=500", headers=key).json()["rows"]
    return sum(each["creditsCost"] for each in rows)


@pytest.mark.nightly
def test_refused_keys_take_nothing_from_the_others(tmp_path):
    """With them as many facts are verified, as many as ``doctor`` foretold, and the cost is that of usage."""
    skip_without("flask")
    verified = {}
    for names in (ACTIVE, (*ACTIVE, *REFUSED)):
        folder = tmp_path / str(len(names))
        folder.mkdir()
        with blind.serving("flask") as said:
            environ = {f"{each.upper()}_KEY": said["keys"][each]["secret"] for each in names}
            run = partial(knouds, cwd=folder, **environ)
            options = [word for variable in environ for word in ("--key", variable)]
            run("init", "--url", said["base_url"], *options, "--output", "mine.toml")
            profile = folder / "mine.toml"
            profile.write_text(opened(profile.read_text(encoding="utf-8")), encoding="utf-8")
            foretold = json.loads(run("doctor", "--target", "mine.toml", "--format", "json").stdout)
            before = charged(said)
            checked = run("check", "--quick", "--seed", "1", "--target", "mine.toml")
            cost_credits = charged(said) - before
        record = only_record(folder / "reports/runs")
        verified[names] = {each.fact for each in record.results if each.passed and not each.failed}
        assert checked.returncode == ExitCode.KEPT, checked.stdout
        assert abs(sum(foretold["testable"].values()) - len(verified[names])) <= 3
        assert f"charged {cost_credits:g} credits (usage)" in checked.stdout

    without, with_refused = verified.values()
    assert without <= with_refused
