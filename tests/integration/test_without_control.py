"""What can be verified without a control plane, on targets with little data of their own; webhooks too."""

import threading
from contextlib import contextmanager

import httpx
import pytest
from checking import broken_by, check, knouds
from example_targets import PORTRAIT, PRO, SmallProfile, free_port, write_profile
from raw_server import proxying

from knouds_harness.contract.document import shipped_document
from knouds_harness.errors import ExitCode
from knouds_sandbox.serving import running_sandbox

TOKEN = "test-token-0123456789"
CONTROL = '[control]\nsecret_file = "token"\n'
OVERSPENDING = "run.too-few-credits-is-402"
ROUND_TRIP = "workflows.get-round-trips"
REFUSED = "run.inputs-not-object-is-invalid-inputs"


@pytest.fixture
def small(tmp_path):
    """A profile without keys, of a sandbox."""
    return lambda sandbox: SmallProfile(folder=tmp_path, sandbox=sandbox)


@pytest.fixture
def small_account(tmp_path, small):
    """Write the profile of an account with one key and one workflow."""
    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")

    def written(sandbox, more="", base_url=None):
        profile = small(sandbox).key("pro", PRO, user="pia", tier="pro")
        return profile.resource(f"{PORTRAIT}\n{more}").written(base_url=base_url)

    return written


def run_elsewhere(sandbox):
    """Run the workflow of that account as another client does."""
    httpx.post(
        f"{sandbox.base_url}/api/workflows/pia-portrait/run",
        headers={"x-api-key": sandbox.keys["pro"]},
        json={"inputs": {"prompt": "a fox"}},
    )


@contextmanager
def running_elsewhere(sandbox):
    """Have another client run the workflow of that account, again and again."""
    is_over = threading.Event()

    def run():
        while not is_over.wait(0.05):
            run_elsewhere(sandbox)

    client = threading.Thread(target=run)
    client.start()
    try:
        yield
    finally:
        is_over.set()
        client.join()


@pytest.mark.parametrize(
    ("has", "faults", "broken"),
    [(10, (), set()), (10, ("run-credits-checked-too-early",), {OVERSPENDING}), (1_000, (), set())],
    ids=["sound", "broken", "untested"],
)
def test_concurrent_runs_show_whether_a_key_overspends(tmp_path, small, has, faults, broken):
    """A key that can still pay with more than the profile says shows that the profile is wrong."""
    with running_sandbox(control_token=TOKEN, faults=faults) as sandbox:
        with httpx.Client(base_url=sandbox.base_url, headers={"x-sandbox-token": TOKEN}) as client:
            account = client.post("/__sandbox__/accounts", json={"tier": "business", "credits": has}).json()
            wanted = {"account": account["account"], "capabilities": ["model:run"]}
            secret = client.post("/__sandbox__/keys", json=wanted).json()["secret"]
        key = {"user": "lea", "tier": "business", "secret": secret, "more": "credits = 10\n"}
        profile = small(sandbox).key("few", ["model:run"], **key)
        profile.resource('[models.claude-sonnet]\ninputs = { prompt = "x" }\ncost_credits = 3\n')
        record = check(tmp_path, "--fact", OVERSPENDING, "--target", profile.written())

    assert broken_by(record) == broken
    assert (record.exit_code == ExitCode.BREACH) == bool(broken)
    assert any("the credits of keys.few" in each.missing for each in record.untested) == (has > 10)
    assert any(each.passed for each in record.results if each.fact == OVERSPENDING) == (has == 10)


@pytest.mark.parametrize("fault", ["workflows-name-escaped", "create-drops-loose-nodes"])
def test_loss_is_found_even_if_workflows_have_no_nodes(tmp_path, small, fault):
    """A graph of our own is sent to the target."""
    with running_sandbox(faults=(fault,)) as sandbox:
        with httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys["ines"]}) as client:
            client.post("/api/workflows", json={"name": "Bare"})
        profile = small(sandbox).key("ines", ["workflow:read", "workflow:write"], user="ines", tier="pro")
        profile.resource('[workflows.bare]\nowner = "ines"\n')
        record = check(tmp_path, "--fact", ROUND_TRIP, "--target", profile.written())

    assert ROUND_TRIP in broken_by(record)


@pytest.mark.parametrize(
    ("fact", "more"), [(REFUSED, ""), ("rate.remaining-falls", CONTROL), ("tier.rate-limit-pro", CONTROL)]
)
def test_runs_of_another_client_break_nothing(tmp_path, small_account, fact, more):
    """An account that gets rows while the check runs nothing there is used by somebody else as well.

    Also where the clock can be moved: usage shows runs that the check did not send.
    """
    with running_sandbox(control_token=TOKEN) as sandbox, running_elsewhere(sandbox):
        record = check(tmp_path, "--fact", fact, "--target", small_account(sandbox, more))

    assert broken_by(record) == set()


@pytest.mark.parametrize(
    ("faults", "broken"),
    [((), set()), pytest.param(("usage-charges-refused-inputs",), {REFUSED}, marks=pytest.mark.nightly)],
    ids=["another client ran", "refusals are charged"],
)
def test_charges_for_refusals_come_each_time(tmp_path, small_account, faults, broken):
    """A row that came once may be of another client, which has run no more since."""
    targets: list[str] = []
    runs: list[None] = []

    def answer(asked_for, asked):
        answered = asked()
        if answered.status == 400 and "/api/usage?limit=500" in targets and not runs:
            runs.append(run_elsewhere(sandbox))
        targets.append(asked_for.target)
        return answered.in_bytes()

    with (
        running_sandbox(control_token=TOKEN, faults=faults) as sandbox,
        proxying(sandbox.base_url, answer) as server,
    ):
        profile = small_account(sandbox, CONTROL, base_url=server.base_url)
        record = check(tmp_path, "--fact", REFUSED, "--target", profile)

    assert runs
    assert broken_by(record) == broken
    assert (record.exit_code == ExitCode.BREACH) == bool(broken)


# -- webhooks: the profile says where deliveries arrive


def untested(record):
    """Return what was missing, by check."""
    return {each.check: each.missing for each in record.untested if each.check.startswith("webhooks.")}


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def url(port):
    return f"http://127.0.0.1:{port}/hooks/knouds"


def webhooks_checked(folder, lines, *options, **sandbox):
    """Check webhooks with these lines of ``[webhook]``, on a sandbox with these options."""
    with running_sandbox(**sandbox) as running:
        profile = write_profile(folder, running, webhook=lines)
        return check(folder, *options, "--family", "webhooks", "--target", str(profile))


def test_every_webhook_fact_is_verified(tmp_path, url):
    """The URL is on this machine, so the harness listens there."""
    record = webhooks_checked(tmp_path, f'url = "{url}"', webhook_url=url)

    verified = {each.fact for each in record.results if each.passed and not each.failed}
    assert record.exit_code == ExitCode.KEPT
    assert untested(record) == {}
    assert {fact for fact in shipped_document().facts if fact.startswith("webhook.")} <= verified


ELSEWHERE = 'url = "https://hooks.example.com/knouds"'


def test_proxy_can_be_between_target_and_receiver(tmp_path, port, url):
    """The URL in the dashboard is not the one at which the harness listens."""
    lines = f'{ELSEWHERE}\nlisten = "127.0.0.1:{port}"'

    record = webhooks_checked(tmp_path, lines, webhook_url=url)

    assert record.exit_code == ExitCode.KEPT
    assert untested(record) == {}


def test_remote_url_without_deliveries_is_untested(tmp_path, port):
    """Only the profile says that deliveries should come, so there is no breach; the report says why."""
    lines = f'{ELSEWHERE}\nlisten = "127.0.0.1:{port}"\ndeadline_s = 0.5'
    nowhere = f"http://127.0.0.1:{free_port()}/"

    record = webhooks_checked(tmp_path, lines, "--quick", webhook_url=nowhere)

    way = f"a way from https://hooks.example.com/knouds to http://127.0.0.1:{port}/"
    assert record.exit_code == ExitCode.KEPT
    assert "webhooks.one-each" in untested(record)
    assert way in str(untested(record))


def test_local_target_without_deliveries_is_in_breach(tmp_path, url):
    lines, nowhere = f'url = "{url}"\ndeadline_s = 0.5', f"http://127.0.0.1:{free_port()}/"

    record = webhooks_checked(tmp_path, lines, "--quick", webhook_url=nowhere)

    assert broken_by(record) == {"webhook.one-per-ended-execution"}


def test_remote_url_without_listen_is_untested(tmp_path):
    record = webhooks_checked(tmp_path, ELSEWHERE)

    assert record.exit_code == ExitCode.USAGE, "nothing tested is no success"
    assert "listen" in untested(record)["webhooks.one-each"]


def test_taken_port_is_reported_before_anything_is_sent(tmp_path):
    with running_sandbox() as taken, running_sandbox() as sandbox:
        profile = write_profile(tmp_path, sandbox, webhook=f'url = "{taken.base_url}/hook"')
        process = knouds("check", "--target", profile, cwd=tmp_path)

    assert process.returncode == ExitCode.USAGE
    says = f"127.0.0.1 port {taken.base_url.rpartition(':')[2]}: Address already in use"
    assert says in " ".join(process.printed.split())
    assert not (tmp_path / "reports").exists()
