"""The script of a sequence: it sends what was sent, in order, with what the server gives this time."""

import json
import os
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from run_records import exchange

from knouds_harness.exchange.sequence import essential_steps, script

pytestmark = pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")

BASE = "https://staging.example.com"
# A curl that shows where it sends and what, and answers as a server whose slugs differ from those of the run.
FAKE_CURL = r"""#!/bin/sh
sent="" is_next_body="" method=GET is_next_method=""
for word in "$@"; do
  [ -n "$is_next_body" ] && sent=$word
  [ -n "$is_next_method" ] && method=$word
  is_next_body="" is_next_method=""
  case $word in
    --data-raw) is_next_body=yes;;
    -X) is_next_method=yes;;
    http*) url=$word;;
  esac
done
echo "$method $url $sent" >> "$SENT"
number=$(wc -l < "$SENT" | tr -d ' ')
printf 'HTTP/1.1 200 OK\r\n\r\n{"nodes": [{"slug": "inner"}], "slug": "fresh-%s"}' "$number"
"""


def at(number, shown, **changes):
    """An exchange of some workflow, sent at the number-th instant."""
    return replace(shown, id=f"x{number:05d}", **changes)


def on(number, operation_id, slug, **options):
    """An exchange with the workflow under a slug."""
    shown = exchange(number, operation_id, **options)
    url = shown.url.replace("portrait", slug)
    path = shown.request.path.replace("portrait", slug)
    request = replace(shown.request, path=path, path_values={"slug": slug})
    return replace(shown, url=url, request=request)


def created(number, slug, **options):
    """A create and what it answers; its nodes have slugs too."""
    body = {"nodes": [{"slug": "inner"}], "slug": slug}
    return exchange(number, "createWorkflow", status=201, sent={"name": "A"}, body=body, **options)


def sent_by(text, tmp_path, **environment):
    """What a shell's curl is asked to send, and the finished shell."""
    (tmp_path / "curl").write_text(FAKE_CURL)
    (tmp_path / "curl").chmod(0o755)
    sent = tmp_path / "sent"
    sent.touch()
    process = subprocess.run(
        ["/bin/sh", "-c", text],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "SENT": str(sent),
            "KNOUDS_KEY_FULL": "a-key",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return sent.read_text().splitlines(), process


def test_given_slug_is_carried_on(tmp_path):
    """Later requests name the slug that the server gives when the script runs, in path and body."""
    steps = [
        created(1, "fresh"),
        on(2, "updateWorkflow", "fresh", sent={"slug": "fresh", "description": "a fresh one"}),
        on(3, "getWorkflow", "fresh"),
    ]

    sent, process = sent_by(script(steps, shows="a fact"), tmp_path)

    assert process.returncode == 0, process.stderr
    assert sent == [
        f'POST {BASE}/api/workflows {{"name": "A"}}',
        f'PUT {BASE}/api/workflows/fresh-1 {{"slug": "fresh-1", "description": "a fresh one"}}',
        f"GET {BASE}/api/workflows/fresh-1 ",
        f"DELETE {BASE}/api/workflows/fresh-1 ",
    ]


def test_nothing_is_deleted_twice(tmp_path):
    """What the sequence deletes itself is left to it."""
    steps = [created(1, "fresh"), on(2, "deleteWorkflow", "fresh"), on(3, "getWorkflow", "fresh")]

    sent, _ = sent_by(script(steps, shows="a fact"), tmp_path)

    assert [line.partition(" ")[0] for line in sent] == ["POST", "DELETE", "GET"]


def test_slug_that_begins_with_another_is_its_own(tmp_path):
    """A slug is replaced where it is a whole segment of the path."""
    steps = [created(1, "fresh"), created(2, "fresh-2"), on(3, "getWorkflow", "fresh-2")]

    sent, _ = sent_by(script(steps, shows="a fact"), tmp_path)

    assert sent[2:] == [
        f"GET {BASE}/api/workflows/fresh-2 ",
        f"DELETE {BASE}/api/workflows/fresh-1 ",
        f"DELETE {BASE}/api/workflows/fresh-2 ",
    ]


def test_base_url_is_a_variable(tmp_path):
    """Another server can be asked."""
    steps = [created(1, "fresh"), on(2, "getWorkflow", "fresh")]

    sent, _ = sent_by(script(steps, shows=""), tmp_path, KNOUDS_BASE_URL="http://127.0.0.1:1")

    assert sent[0].startswith("POST http://127.0.0.1:1/api/workflows ")


def test_missing_key_is_said_before_anything_is_sent(tmp_path):
    """The message names the variable to export."""
    steps = [created(1, "fresh", persona="other"), on(2, "getWorkflow", "fresh")]

    sent, process = sent_by(script(steps, shows=""), tmp_path)

    assert sent == []
    assert "KNOUDS_KEY_OTHER: export it first" in process.stderr
    assert process.returncode != 0


def test_answer_without_the_slug_ends_the_script(tmp_path):
    """Nothing is sent to a path that lacks its value."""
    steps = [
        at(1, created(1, "fresh"), body=json.dumps({"slug": "fresh"}).encode()),
        at(2, on(2, "getWorkflow", "fresh")),
    ]
    text = script(steps, shows="").replace("given slug 1", "given nosuch 1")

    sent, process = sent_by(text, tmp_path)

    assert len(sent) == 1
    assert process.returncode != 0


def test_words_of_a_server_stay_in_their_comment(tmp_path):
    """What was observed can neither end the line nor the script."""
    steps = [created(1, "fresh"), on(2, "getWorkflow", "fresh")]

    sent, process = sent_by(script(steps, shows="observed \nEND\necho $(touch pwned) \x1b[31m`id`"), tmp_path)

    assert process.returncode == 0, process.stderr
    assert len(sent) == 3


def test_pauses_are_kept():
    """An execution needs the time that it needed."""
    first = created(1, "fresh")
    later = replace(on(2, "getWorkflow", "fresh"), started_at=first.started_at + timedelta(seconds=1.2))

    assert "\nsleep 1.2\n" in script([first, later], shows="")


def test_other_reads_are_left_out():
    """What was read in between by other operations changes nothing."""
    steps = [
        created(1, "a"),
        on(2, "getWorkflowSchema", "a"),
        on(3, "getWorkflow", "a", body={"slug": "a"}),
        on(4, "updateWorkflow", "a", sent={}),
        on(5, "getWorkflow", "a", body={"slug": "a"}),
    ]

    assert [step.id for step in essential_steps(steps)] == ["x00001", "x00003", "x00004", "x00005"]


def test_polls_that_say_the_same_are_left_out():
    """Of equal answers in a row the first and the last stay."""
    polls = [exchange(number, "getExecution", body={"status": "processing"}) for number in range(2, 7)]
    end = exchange(7, "getExecution", body={"status": "completed"})

    steps = essential_steps([exchange(1, "runModel", status=202), *polls, end])

    assert [step.id for step in steps] == ["x00001", "x00002", "x00006", "x00007"]
