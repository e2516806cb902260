"""Removal reads each workflow before it deletes it, and leaves what shows another name than was sent."""

import httpx
import pytest
from example_targets import ALL, make_key

from knouds_harness.exchange.created_workflows import CreatedWorkflows
from knouds_harness.targets.profile import Target
from knouds_harness.targets.resources import Limits, Workflow

NAME = "Harness 0123456789ab draft"
SLUG = "harness-0123456789ab-draft"
SENT = {"event": "sending", "number": 1, "user": "ada", "member": "name", "text": NAME}
CREATED = {"event": "created", "number": 1, "user": "ada", "slug": SLUG}
OTHER = "prod-pipeline"
LISTED = {"event": "listed", "user": "ada", "slugs": []}


class Server:
    """Holds workflows by slug, and answers like a sound server unless told otherwise."""

    def __init__(self, **names):
        self.names = {slug.replace("_", "-"): name for slug, name in names.items()}
        self.bodies = {}
        self.sent = []

    def __call__(self, request):
        slug = request.url.path.removeprefix("/api/workflows").strip("/")
        self.sent.append(f"{request.method} {slug}".strip())
        if (request.method, slug) in self.bodies:
            return self.bodies[request.method, slug]
        if not slug:
            return httpx.Response(200, json=[{"slug": each, "name": self.names[each]} for each in self.names])
        if slug not in self.names:
            return httpx.Response(404, json={"error": "Not found", "code": "NOT_FOUND"})
        if request.method == "DELETE":
            del self.names[slug]
            return httpx.Response(200, json={})
        return httpx.Response(200, json={"slug": slug, "name": self.names[slug]})


def target(*capabilities):
    return Target(
        name="mine",
        base_url="http://127.0.0.1:9",
        limits=Limits(credits=0.0, allow=ALL, timeout_s=2.0),
        personas={"full": make_key("full", capabilities=frozenset(capabilities))},
        workflows={"portrait": Workflow(slug="portrait", owner="ada")},
    )


@pytest.fixture
def removed(client_answering):
    """Delete what a ledger says is left on a server."""

    def removed(server, *events, capabilities=("workflow:read", "workflow:write"), is_dry=False):
        profile = target(*capabilities)
        client = client_answering(
            server, target=profile, created=CreatedWorkflows(target=profile, events=events)
        )
        return client.remove_left(is_dry=is_dry, wait=lambda _: None)

    return removed


@pytest.mark.parametrize("status", [502, 503, 504])
@pytest.mark.parametrize(("busy", "is_deleted"), [(5, True), (1_000, False)])
def test_gateway_without_its_server_is_asked_again(removed, status, busy, is_deleted):
    """A few times."""
    server = Server(**{SLUG: NAME})
    answers = iter(range(busy))

    def balanced(request):
        return server(request) if next(answers, None) is None else httpx.Response(status, text="no upstream")

    done = removed(balanced, LISTED, SENT, CREATED)

    assert (SLUG in done.deleted, SLUG in server.names) == (is_deleted, not is_deleted)
    assert next(answers, 0) < 30


@pytest.mark.parametrize(
    ("asked", "is_left"), [({}, False), ({"most_wait_s": 0}, True), ({"ends_at_once": True}, True)]
)
def test_ctrl_c_in_the_removal_that_ends_a_run_does_not_end_it(client_answering, asked, is_left):
    """Only if the run was interrupted before, and in the command that does nothing else."""
    server, profile = Server(**{SLUG: NAME}), target("workflow:read", "workflow:write")
    created = CreatedWorkflows(target=profile, events=[LISTED, SENT, CREATED])
    interrupts = iter([KeyboardInterrupt()])

    def interrupted(request):
        if request.method == "DELETE" and (interrupt := next(interrupts, None)):
            raise interrupt
        return server(request)

    removal = client_answering(interrupted, target=profile, created=created).remove_left(**asked)

    assert removal.was_interrupted
    assert removal.left == ((f"{SLUG}: interrupted",) if is_left else ())
    assert (SLUG in server.names) == is_left


def test_workflow_is_read_before_it_is_deleted(removed):
    server = Server(**{SLUG: NAME, "other": "Other"})

    assert removed(server, SENT, CREATED).deleted == (SLUG,)
    assert server.sent[:2] == [f"GET {SLUG}", f"DELETE {SLUG}"]
    assert server.names == {"other": "Other"}


@pytest.mark.parametrize("is_dry", [False, True])
def test_renamed_workflow_is_left(removed, is_dry):
    """Its user has taken it over: it stays, and is said to be left, also by a dry run."""
    server = Server(**{SLUG: "Customer launch 2027"})

    result = removed(server, SENT, CREATED, is_dry=is_dry)

    assert (result.deleted, server.names) == ((), {SLUG: "Customer launch 2027"})
    assert result.left == (f'{SLUG}: it is not deleted, as it is now named "Customer launch 2027"',)


@pytest.mark.parametrize(
    ("events", "slug", "name"),
    [
        ([{**CREATED, "slug": OTHER}], OTHER, "Pipeline"),
        ([SENT, {**CREATED, "slug": OTHER}], OTHER, "Pipeline"),
        ([SENT, {**CREATED, "slug": "portrait"}], "portrait", NAME),
        ([SENT, {**LISTED, "slugs": ["w-17"]}, {**CREATED, "slug": "w-17"}], "w-17", NAME),
        ([{**SENT, "text": "Pipeline", "token": "x"}, {**CREATED, "slug": OTHER}], OTHER, "Pipeline"),
        ([{**SENT, "text": "", "is_beginning": True}, {**CREATED, "slug": OTHER}], OTHER, "Pipeline"),
        ([SENT, {**CREATED, "slug": "../account"}], "..%2Faccount", NAME),
    ],
    ids=["slug-only", "other-slug", "profile", "listed", "no-token", "beginning", "path"],
)
def test_ledger_alone_deletes_nothing(removed, events, slug, name):
    """Whatever it says: the workflow has to be new, and to show a name with a token that was sent."""
    server = Server(**{slug: name})

    removed(server, *events)

    assert slug in server.names
    assert {each for each in server.sent if slug != OTHER} <= {"GET"}


@pytest.mark.parametrize(
    ("read", "listed", "is_deleted"),
    [
        (httpx.Response(200, text="[" * 300), NAME, True),
        (httpx.Response(200, text="no JSON"), NAME, True),
        (httpx.Response(200, text="no JSON"), "Customer launch 2027", False),
        (httpx.Response(403, json={"error": "No", "code": "CAPABILITY_DENIED"}), NAME, False),
        (httpx.Response(500, text=""), NAME, False),
    ],
    ids=["deep", "text", "renamed", "403", "500"],
)
def test_workflow_that_cannot_be_read_is_judged_by_the_list(removed, read, listed, is_deleted):
    """If it was answered: it may be nested too deeply. A refusal or an error proves nothing."""
    server = Server(**{SLUG: listed})
    server.bodies["GET", SLUG] = read

    assert removed(server, SENT, CREATED).deleted == (SLUG,) * is_deleted


@pytest.mark.parametrize("is_read", [False, True], ids=["own", "ledger"])
def test_without_a_key_that_reads_only_what_this_process_made_is_deleted(client_answering, is_read):
    """The token in the slug of a response proves that; a ledger's word does not."""
    server, profile = Server(**{SLUG: NAME}), target("workflow:write")
    created = CreatedWorkflows(target=profile, events=[SENT, CREATED] if is_read else [])
    if not is_read:
        creation = created.admit("POST", "/api/workflows", {"name": NAME}, persona="full", user="ada")
        assert creation
        created.settle(creation, 201, {"slug": SLUG})

    client_answering(server, target=profile, created=created).remove_left()

    assert (SLUG in server.names) == is_read


@pytest.mark.parametrize("status", [200, 201, 302, 403, 413, 500, None])
@pytest.mark.parametrize("depth", [1, 5000])
def test_created_workflow_is_found_by_its_name_however_its_answer_looks(client_answering, status, depth):
    """An answer that says nothing, refuses, or does not come at all; also to a body that is nested deeply."""
    server, profile = Server(), target("workflow:read", "workflow:write")
    client = client_answering(server, target=profile)
    body = f'{{"name": "{NAME}", "nodes": {"[" * depth + "]" * depth}}}'.encode()
    creation = client.created.admit("POST", "/api/workflows", body, persona="full", user="ada")
    assert creation
    server.names[SLUG] = NAME
    client.created.settle(creation, status, None)

    removal = client.remove_left()

    assert (removal.deleted, removal.left, server.names) == ((SLUG,), (), {})
