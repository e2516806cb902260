"""What can be verified without a control plane, on targets with little data of their own."""

import threading
from contextlib import contextmanager

import httpx
import pytest
from checking import check
from example_targets import PORTRAIT, PRO, SmallProfile
from raw_server import proxying

from knouds_harness.errors import ExitCode
from knouds_harness.runs.record import read_run
from knouds_sandbox.serving import running_sandbox

TOKEN = "test-token-0123456789"
LIMITS = """
[limits]
credits = 1000
concurrency = 8
allow = ["read", "write", "run"]
"""
OVERSPENDING = "run.too-few-credits-is-402"
ROUND_TRIP = "workflows.get-round-trips"


def write_profile(folder, sandbox, secret, tables):
    (folder / "key").write_text(secret, encoding="utf-8")
    profile = folder / "by-hand.toml"
    profile.write_text(f'base_url = "{sandbox.base_url}"\n{LIMITS}{tables}', encoding="utf-8")
    return str(profile)


def of_few_credits(sandbox, folder, *, has, says):
    """Write a profile of an account with that many credits, and of what it says about them."""
    with httpx.Client(base_url=sandbox.base_url, headers={"x-sandbox-token": TOKEN}) as client:
        account = client.post("/__sandbox__/accounts", json={"tier": "business", "credits": has}).json()
        wanted = {"account": account["account"], "capabilities": ["model:run"]}
        secret = client.post("/__sandbox__/keys", json=wanted).json()["secret"]
    tables = f"""
[keys.few]
secret_file = "key"
capabilities = ["model:run"]
user = "lea"
tier = "business"
credits = {says}

[models.claude-sonnet]
inputs = {{ prompt = "a lighthouse" }}
cost_credits = 3
"""
    return write_profile(folder, sandbox, secret, tables)


@pytest.fixture
def small_account(tmp_path):
    """Write the profile of an account with one key and one workflow."""

    def written(sandbox, more="", base_url=None):
        profile = SmallProfile(folder=tmp_path, sandbox=sandbox).key("pro", PRO, user="pia", tier="pro")
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


def standing(folder, fact):
    """Return how often a fact held and failed, and what was missing if it was not tested."""
    (run,) = (folder / "runs").iterdir()
    record = read_run(run)
    results = [each for each in record.results if each.fact == fact]
    return sum(each.passed for each in results), " ".join(each.missing for each in record.untested)


@pytest.mark.parametrize(
    ("faults", "broken"), [((), set()), (("run-credits-checked-too-early",), {OVERSPENDING})]
)
def test_concurrent_runs_show_whether_a_key_overspends(tmp_path, faults, broken):
    with running_sandbox(control_token=TOKEN, faults=faults) as sandbox:
        profile = of_few_credits(sandbox, tmp_path, has=10, says=10)
        exit_code, found = check(tmp_path, "--fact", OVERSPENDING, "--target", profile)

    assert found == broken
    assert exit_code == (ExitCode.BREACH if broken else ExitCode.KEPT)
    assert standing(tmp_path, OVERSPENDING)[0] > 0


def test_account_with_more_credits_than_the_profile_says_is_untested(tmp_path):
    """That it can still pay shows that the profile is wrong, and not the target."""
    with running_sandbox(control_token=TOKEN) as sandbox:
        profile = of_few_credits(sandbox, tmp_path, has=1_000, says=10)
        _, found = check(tmp_path, "--fact", OVERSPENDING, "--target", profile)

    assert found == set()
    assert "the credits of keys.few" in standing(tmp_path, OVERSPENDING)[1]


@pytest.mark.parametrize("fault", ["workflows-name-escaped", "create-drops-loose-nodes"])
def test_loss_is_found_even_if_workflows_have_no_nodes(tmp_path, fault):
    """A graph of our own is sent to the target."""
    with running_sandbox(faults=(fault,)) as sandbox:
        with httpx.Client(base_url=sandbox.base_url, headers={"x-api-key": sandbox.keys["ines"]}) as client:
            client.post("/api/workflows", json={"name": "Bare"})
        tables = """
[keys.ines]
secret_file = "key"
capabilities = ["workflow:read", "workflow:write"]
user = "ines"
tier = "pro"

[workflows.bare]
owner = "ines"
"""
        profile = write_profile(tmp_path, sandbox, sandbox.keys["ines"], tables)
        _, found = check(tmp_path, "--fact", ROUND_TRIP, "--target", profile)

    assert ROUND_TRIP in found


CONTROL = '[control]\nsecret_file = "token"\n'
REFUSED = "run.inputs-not-object-is-invalid-inputs"


def test_runs_of_another_client_are_not_charges_for_refusals(tmp_path, small_account):
    """An account that gets rows while the check runs nothing there is used by somebody else as well."""
    with running_sandbox() as sandbox, running_elsewhere(sandbox):
        exit_code, found = check(tmp_path, "--fact", REFUSED, "--target", small_account(sandbox))

    assert found == set()
    assert exit_code == ExitCode.KEPT


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

    (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
    with (
        running_sandbox(control_token=TOKEN, faults=faults) as sandbox,
        proxying(sandbox.base_url, answer) as server,
    ):
        profile = small_account(sandbox, CONTROL, base_url=server.base_url)
        exit_code, found = check(tmp_path, "--fact", REFUSED, "--target", profile)

    assert runs
    assert found == broken
    assert (exit_code == ExitCode.BREACH) == bool(broken)


@pytest.mark.parametrize("fact", ["rate.remaining-falls", "tier.rate-limit-pro"])
def test_runs_of_another_client_break_no_rate_limit(tmp_path, small_account, fact):
    """Also where the clock can be moved: usage shows runs that the check did not send."""
    with running_sandbox(control_token=TOKEN) as sandbox, running_elsewhere(sandbox):
        (tmp_path / "token").write_text(TOKEN, encoding="utf-8")
        profile = small_account(sandbox, CONTROL)
        _, found = check(tmp_path, "--fact", fact, "--target", profile)

    assert found == set()
