"""Lies of hostile servers, in words and deeds: one function for each, described in its docstring."""

import base64
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import quote, unquote

from integration.echoed_secrets import FORMS
from lying_server import KEYS, MINE, PRICE, Answer, Honest, Lie, LyingServer, Request, refusal

from knouds_sandbox.state.run_records import end_run
from knouds_sandbox.state.workflows import add_workflow

LIES: Final[dict[str, Lie]] = {}
ABOUT: Final[dict[str, str]] = {}
"""The subject of each lie."""
VICTIM: Final = "precious"
"""The user's own workflow that no profile names."""
CREATE: Final = ("createWorkflow",)
RUN: Final = ("runWorkflow",)
LIST: Final = ("listWorkflows",)


def lie(
    about: str, *, after: Collection[str] = (), kinds: Mapping[str, Any] | None = None
) -> Callable[[Any], Any]:
    """Register a lie by its name, or one for each kind, which it gets as ``kind``.

    A lie gets the server, the request, and a function that returns the honest response. With ``after``, it
    gets the response itself, if that is a success of one of these operations; it changes or replaces it.
    """

    def register(function: Any) -> Any:
        def changing(server: LyingServer, request: Request, honest: Honest, **options: Any) -> Answer:
            answer = honest()
            if request.operation not in after or not answer.is_success:
                return answer
            changed: Answer | None = function(server, request, answer, **options)
            return changed or answer

        name, whole = function.__name__.replace("_", " "), changing if after else function
        for kind, value in (kinds or {"": None}).items():
            LIES[f"{name}: {kind}" if kinds else name] = partial(whole, kind=value) if kinds else whole
            ABOUT[f"{name}: {kind}" if kinds else name] = about
        return function

    return register


def forms_of(key: str) -> dict[str, str]:
    """Return a key in the forms that the harness promises to find."""
    plain = {"plain": key, "loud": key.upper(), "hex": key.encode().hex(), "in a URL": quote(key)}
    plain["base64"] = base64.b64encode(b"k=" + key.encode()).decode()
    return plain | {name: form(key) for name, form in FORMS.items()}


# --- Secrets: what the harness sent, in places where it must not be kept ---


@lie("secrets")
def key_in_names(server, request, honest):
    """The caller's key, in each form, is the name of members and headers; others' keys are in members."""
    answer = honest()
    if isinstance(answer.body, dict) and request.is_known:
        answer.body |= {form: name for name, form in forms_of(request.key).items()}
        answer.body |= {"keys": [*KEYS.values()], "joined": "".join(KEYS.values())}
        answer.headers += [(f"X-{request.key}", "1"), (f"X-{request.key.encode().hex()}", "1")]
    return answer


@lie("secrets")
def code_is_key(server, request, honest):
    """Code, reason phrase, media type and `required` of each refusal are the caller's key."""
    answer, key = honest(), request.key
    if answer.status >= 400 and key:
        answer.body |= {"code": key.upper(), "required": [f"{key}:run"], "tier": key}
        answer.reason, answer.content_type = key, f"application/{key}"
    return answer


@lie("secrets", after=("getWhoami", "listWorkflows", "listUsageModels", "getPublicPricing"))
def account_is_key(server, request, answer):
    """The account's email, tier and role are the key, and so are names of workflows and models."""
    key, forms = KEYS["full"], forms_of(KEYS["full"])
    if request.operation == "getWhoami":
        answer.body["user"] |= {
            "email": f"{forms['hex']}@{key}.example",
            "tier": key,
            "role": forms["base64"],
        }
    elif request.operation == "listWorkflows":
        answer.body = [each | {"name": key, "tags": list(forms.values())} for each in answer.body]
    else:
        answer.body = {"models": list(forms.values()), "tiers": [{"id": key}]}


@lie("secrets")
def key_is_refused_aloud(server, request, honest):
    """Every key is refused from the start, and echoed in each form."""
    if not request.key:
        return honest()
    answer = refusal(401, f"NO_{request.key}", error=" ".join(forms_of(request.key).values()))
    answer.headers.append(("WWW-Authenticate", f'Key realm="{request.key}"'))
    return answer


@lie("secrets")
def key_breaks_http(server, request, honest):
    """After three, responses are invalid HTTP: the key is status line, length, encoding, charset or text."""
    server.seen["broken"] += request.is_known and request.operation != "getWhoami"
    if server.seen["broken"] < 4 or not request.is_known or request.operation == "getWhoami":
        return honest()
    key, ok = request.key.encode(), b"HTTP/1.1 200 OK\r\n"
    broken = (
        b"HTTP/1.1 %s odd\r\n\r\n" % key,
        ok + key + b"\r\n\r\n",
        ok + b"Content-Length: %s\r\n\r\n" % key,
        ok + b"Transfer-Encoding: chunked\r\n\r\n%s\r\n" % key,
        ok + b"Content-Encoding: %s\r\nContent-Length: 2\r\n\r\n{}" % key,
        ok + b"Content-Type: application/json; charset=%s\r\nContent-Length: 2\r\n\r\n{}" % key,
        ok + b'Content-Type: application/json\r\nContent-Length: 900\r\n\r\n{"a": "%s' % key,
        ok + b"Content-Length: %d\r\n\r\n{tru %s" % (len(key) + 5, key),
    )
    return Answer(raw=broken[server.seen["broken"] % len(broken)])


@lie("secrets", after=(*CREATE, *RUN))
def key_in_paths(server, request, answer):
    """Slugs, `pollUrl` and `requestId` hold the key, which would then be sent in paths."""
    names = {"slug", "pollUrl", "requestId"} & answer.body.keys()
    answer.body |= {name: f"{answer.body[name]}-{request.key}" for name in names}


# --- Things: what the harness created, and what it did not ---


@lie(
    "things",
    after=CREATE,
    kinds={
        "no answer": lambda _: Answer(raw=b""),
        "no slug": lambda _: Answer({"success": True}, 201),
        "another slug": lambda answer: Answer(answer.body | {"slug": answer.body["slug"] + "-9"}, 201),
        "a redirect": lambda _: Answer({}, 303, [("Location", f"/api/workflows/{VICTIM}")]),
    },
)
def made_but_answered(server, request, answer, kind):
    """A create makes a workflow, and two of three have another response."""
    server.seen["creates"] += 1
    return kind(answer) if server.seen["creates"] % 3 else None


@lie("things", after=CREATE)
def made_twice(server, request, answer):
    """Each create makes two workflows, and its response shows one."""
    add_workflow(server.store, answer.body, slug=answer.body["slug"], owner_id=answer.body["createdBy"])


@lie("things", after=CREATE)
def made_under_a_random_slug(server, request, answer):
    """The slug has no part of the name."""
    answer.body["slug"] = server.move(answer.body["slug"], f"wf-{uuid.uuid4().hex[:12]}")


@lie(
    "things",
    kinds={
        "dots": lambda slug: f"{slug}/../{VICTIM}",
        "encoded dots": lambda slug: f"{slug}%2f..%2f{VICTIM}",
        "a query": lambda slug: f"{VICTIM}?{slug}",
        "a number": lambda _: 7,
    },
)
def odd_slug(server, request, honest, kind):
    """A created slug has the harness's token, and leads a careless router to another workflow."""
    path = unquote(unquote(request.target)).partition("?")[0].partition("\0")[0]
    while (shorter := re.sub(r"/[^/]+/\.\./", "/", path, count=1)) != path:
        path = shorter
    answer = honest(request.to(path))
    if request.operation == "createWorkflow" and answer.is_success:
        answer.body["slug"] = kind(answer.body["slug"])
    return answer


@lie("things", kinds={"success": lambda: Answer({"success": True}), "403": lambda: refusal(403, "FORBIDDEN")})
def not_deleted(server, request, honest, kind):
    """Nothing is deleted, whatever the response."""
    return kind() if request.operation == "deleteWorkflow" and request.name in server.left() else honest()


@lie("things")
def hidden_instead_of_deleted(server, request, honest):
    """A deleted workflow is answered with 404, but exists, and is in the list."""
    hidden = server.memory.setdefault("hidden", set())
    if request.operation == "deleteWorkflow" and request.name in server.left():
        hidden.add(request.name)
        return Answer({"success": True})
    return refusal(404, "NOT_FOUND") if request.name in hidden else honest()


@lie("things", after=("updateWorkflow",))
def renaming_moves(server, request, answer):
    """A new name gives a workflow a new slug, which the response shows."""
    if request.name not in MINE:
        slug = re.sub(r"[^a-z0-9]+", "-", answer.body["name"].lower()).strip("-")
        answer.body["slug"] = server.move(request.name, slug)


@lie("things", after=("updateWorkflow",))
def updating_moves_silently(server, request, answer):
    """An update gives a workflow a random slug, which only the list shows."""
    if request.name not in MINE:
        server.move(request.name, f"wf-{uuid.uuid4().hex[:12]}")


@lie("things", after=(*CREATE, *LIST))
def list_of_disguises(server, request, answer):
    """The list shows the user's workflows with the harness's last name, and none of the harness."""
    if request.operation == "createWorkflow":
        server.memory["name"] = answer.body["name"]
    elif "name" in server.memory:
        answer.body = [each | {"name": server.memory["name"]} for each in answer.body if each["slug"] in MINE]


@lie("things", after=("updateWorkflow", "moveWorkflow", "deleteWorkflow"))
def writes_are_done_and_throttled(server, request, answer):
    """Every second write is done, and answered with 429."""
    server.seen["writes"] += 1
    return refusal(429, "RATE_LIMIT_EXCEEDED") if server.seen["writes"] % 2 else None


@lie(
    "money",
    kinds={
        "a run": "../workflows/portrait/run?x=",
        "a deletion": f"../workflows/{VICTIM}?",
        "nothing": "",
        "a number": 17,
        "a header": "x\r\nX-Bad: 1",
    },
)
def odd_execution(server, request, honest, kind):
    """`executionId` and `pollUrl`, put into a path, lead to another operation."""
    path = re.sub(r"/executions/\.\./", "/", unquote(request.target).partition("?")[0])
    answer = honest(request.to(path))
    if request.operation == "runWorkflow" and answer.status == 202:
        answer.body |= {"executionId": kind, "pollUrl": f"/api/executions/{kind}"}
    return answer


# --- Money: what runs cost ---


@lie(
    "money",
    after=RUN,
    kinds={
        "cut": lambda answer: Answer(raw=answer.written()[:-20]),
        "broken gzip": lambda _: Answer(b"abcd", headers=[("Content-Encoding", "gzip")]),
        "a refusal with an execution": lambda _: refusal(400, "INVALID_INPUTS", executionId="x"),
        "an error in 200": lambda _: Answer({"error": "No", "code": "INVALID_INPUTS"}),
    },
)
def charged_but_answered(server, request, answer, kind):
    """A run is charged, and its response is neither a success nor a documented refusal."""
    return kind(answer)


REFUSALS: Final = {
    "400": lambda *_: refusal(400, "INVALID_INPUTS"),
    "402": lambda *_: refusal(402, "INSUFFICIENT_CREDITS"),
    "429": lambda *_: refusal(429, "RATE_LIMIT_EXCEEDED"),
}


@lie(
    "money",
    after=RUN,
    kinds={
        **REFUSALS,
        "400 in HTML": lambda _: Answer(b"<h1>No</h1>", 400),
        "no answer": lambda _: Answer(raw=b""),
        "cost 0": lambda _: Answer({"success": True, "result": {}, "cost": 0, "ms": 1}),
    },
)
def charged_out_of_sight(server, request, answer, kind):
    """A run is charged, usage does not show it, and its response is not one that a sound server may give."""
    server.hide_charge()
    return kind(answer)


@lie("money", after=RUN, kinds=REFUSALS)
def charged_and_refused_later(server, request, answer, kind):
    """From the fourth on, runs are charged, which usage shows, and answered with a refusal."""
    server.seen["runs"] += 1
    return kind() if server.seen["runs"] > 3 else None


@lie("money", kinds={"once": 1, "twice": 2})
def refusals_cost(server, request, honest, kind):
    """A run that is refused is charged, as usage shows."""
    answer = honest()
    if request.operation == "runWorkflow" and request.is_known and answer.status >= 400:
        server.charge(kind * PRICE)
    return answer


@lie("money", after=RUN, kinds={"a part": (1, 0), "the price": (PRICE, PRICE), "thrice": (18, 12)})
def told_and_charged(server, request, answer, kind):
    """The response tells a part of the charge, the price of a run that costs two, or a higher price."""
    answer.body["cost"], more = kind
    server.charge_more(more)


@lie(
    "money",
    kinds={
        "creating": ("createWorkflow",),
        "polling": ("getExecution",),
        "cancelling": ("cancelExecution",),
        "deleting": ("deleteWorkflow",),
        "reading": ("getWorkflow", "getWorkflowSchema", "listWorkflows"),
    },
)
def nothing_is_free(server, request, honest, kind):
    """A free request costs two credits, which usage shows."""
    if request.operation in kind and request.is_known:
        server.charge(2)
    return honest()


@lie(
    "money",
    after=("getWorkflowSchema", *LIST),
    kinds={"zero": lambda _: 0, "minus": lambda _: -6, "wandering": lambda n: (6, 1, 0.01)[n % 3]},
)
def estimated(server, request, answer, kind):
    """The estimate of a run is far too low; it costs 6, and its response says so."""
    server.seen["estimates"] += 1
    for each in answer.body if isinstance(answer.body, list) else [answer.body]:
        if each["estimatedCreditCost"]:
            each["estimatedCreditCost"] = kind(server.seen["estimates"])


@lie("money", after=RUN)
def free_runs_cost(server, request, answer):
    """Runs without a generator cost 6; the response says 0, and usage tells the truth."""
    if not server.runs[-1].cost_credits:
        server.charge_more(PRICE)


@lie("money", kinds={"never": "", "always": "async=true"})
def asynchronous(server, request, honest, kind):
    """A run is asynchronous, or not, whatever was requested."""
    if request.operation == "runWorkflow":
        return honest(request.to(request.target.partition("?")[0], kind))
    return honest()


# --- Green that is not earned ---


EMPTY: Final = {
    "{}": lambda: Answer({}),
    "null": lambda: Answer(None),
    "204": lambda: Answer(None, 204),
    "HTML": lambda: Answer(b"<html>Welcome</html>", content_type="text/html"),
    "broken UTF-8": lambda: Answer(b'{"user": "\xff\xfe"}'),
    "an error in 200": lambda: Answer({"error": "Down for repair.", "code": "MAINTENANCE"}),
    "401": lambda: refusal(401, "UNAUTHORIZED"),
    "429": lambda: refusal(429, "RATE_LIMIT_EXCEEDED", wait_s=600),  # longer than any command waits
}


@lie("green", kinds=EMPTY)
def always(server, request, honest, kind):
    """Every response is the same."""
    return kind()


@lie("green", kinds={name: EMPTY[name] for name in ("{}", "broken UTF-8", "an error in 200")})
def soon(server, request, honest, kind):
    """After two true responses of each operation, all are the same."""
    server.seen[request.operation] += 1
    return kind() if server.seen[request.operation] > 2 else honest()


@lie("green", after=RUN)
def every_run_fails(server, request, answer):
    """No run succeeds, and none is charged."""
    end_run(server.store, server.runs[-1], "failed")
    return refusal(500, "EXECUTION_FAILED")
