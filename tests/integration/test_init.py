"""``knouds-harness init`` as a user meets it: the profile that it writes, and bad input."""

import re
import sys
from pathlib import Path

import pytest
from example_targets import free_port
from raw_server import always, serving

from knouds_harness.commands.cli import main
from knouds_harness.contract.operations import Action
from knouds_harness.suite.discovery.run_plan import provable_facts
from knouds_harness.targets.profile import load_target

PRO, BUSINESS = "STAGING_KEY_PRO", "STAGING_KEY_BUSINESS"
HERE = "where the sandbox is"


@pytest.fixture
def init(tmp_path, monkeypatch, capsys, sandbox):
    """Run the command in an empty folder, with the sandbox's keys in the environment."""
    monkeypatch.chdir(tmp_path)
    for name, secret in sandbox.keys.items():
        monkeypatch.setenv(f"STAGING_KEY_{name.upper().replace('-', '_')}", secret)
    monkeypatch.setenv("SAME_KEY", sandbox.keys["pro"])
    monkeypatch.setenv("SHORT_KEY", "abc")

    def run(*arguments, url=sandbox.base_url):
        monkeypatch.setattr(
            sys, "argv", ["knouds-harness", "init", *(["--url", url] if url else []), *arguments]
        )
        with pytest.raises(SystemExit) as ended:
            main()
        shown = capsys.readouterr()
        return ended.value.code, shown.out, shown.err

    return run


def assert_refused(result, code, *words):
    """Assert one message on stderr, the exit code, and no profile."""
    assert result[2].startswith("error: ")
    assert [word for word in words if word not in result[2]] == []
    assert len(result[2].splitlines()) <= 2
    assert result[0] == code
    assert list(Path().rglob("*.toml")) == []


def test_profile_describes_two_accounts_and_is_read_only(init, sandbox):
    """And no secret is printed or written."""
    code, out, err = init("--key", PRO, "--key", BUSINESS, "--output", "targets/staging.toml")

    target = load_target("targets/staging.toml")
    pro, business = target.personas["pro"], target.personas["business"]
    assert (pro.user, pro.tier, business.user, business.tier) == ("pro", "pro", "business", "business")
    assert business.capabilities - pro.capabilities == {"model:run"}
    assert {slug: each.owner for slug, each in target.workflows.items()} == {
        "pia-portrait": "pro",
        "bea-portrait": "business",
        "starter-template": "others",
    }
    assert target.limits.allow == {Action.READ}
    assert target.limits.credits == 0
    assert "knouds-harness check --target staging" in out
    assert sandbox.keys["pro"] not in out + err + Path("targets/staging.toml").read_text()
    assert code == 0


def test_what_would_show_more_is_named(init):
    """What the most facts need comes first."""
    _, out, _ = init("--key", PRO)

    (verified,) = re.findall(r"can verify at least (\d+) of \d+ facts\.", out)
    gains = [int(gain) for gain in re.findall(r"^  .*: (\d+) facts?$", out, re.MULTILINE)]
    assert int(verified) == len(provable_facts(load_target("targets/staging.toml")))
    assert '"write" in limits.allow: ' in out
    assert gains == sorted(gains, reverse=True)
    assert len(gains) == 5


def test_keys_of_one_account_are_distinguished(init):
    """By their capabilities, bound forms too; the legacy one by its refusal."""
    keys = ["full", "none", "only-execution-read", "legacy"]
    keys += ["wildcard-workflow", "bound-workflow", "bound-model"]
    options = [option for key in keys for option in ("--key", f"STAGING_KEY_{key.upper().replace('-', '_')}")]

    code, *_ = init(*options, "--output", "staging.toml")

    personas = load_target("staging.toml").personas
    held = {name: personas[name].capabilities for name in keys}
    assert held["none"] == frozenset()
    assert held["only-execution-read"] == {"execution:read"}
    assert held["wildcard-workflow"] == {"workflow:read", "workflow:write", "workflow:run"}
    assert held["bound-workflow"] == {"workflow:portrait:run"}
    assert held["bound-model"] == {"model:seedream-v5:run"}
    assert personas["legacy"].state == "legacy"
    assert len({personas[name].user for name in keys if name != "legacy"}) == 1
    assert code == 0


def test_refused_key_beside_a_valid_one_becomes_a_comment(init):
    code, out, _ = init("--key", PRO, "--key", "STAGING_KEY_REVOKED", "--output", "staging.toml")

    assert set(load_target("staging.toml").personas) == {"pro"}
    assert '# state = "revoked" # or "unapproved"' in Path("staging.toml").read_text()
    assert "STAGING_KEY_REVOKED: refused (401 UNAUTHORIZED)" in out
    assert code == 1


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        (
            b"<!doctype html><title>Sign in</title>",
            {"content_type": "text/html"},
            ("HTML instead of JSON", "--url"),
        ),
        (b'{"status": "ok"}', {}, ("whoami answered 200", PRO)),
        *(
            (
                b'{"error": "No"}',
                {"status": f"{status} No", "more": "Retry-After: 1\r\n"},
                (f"whoami answered {status}", "Try again later"),
            )
            for status in (429, 503)
        ),
    ],
)
def test_server_without_a_whoami_is_refused(init, content, options, words):
    with serving(always(content, **options)) as server:
        assert_refused(init("--key", PRO, url=server.base_url), 3, *words)


def test_existing_profile_is_overwritten_only_with_force(init):
    Path("mine.toml").write_text("# mine")

    code, out, err = init("--key", PRO, "--output", "mine.toml")
    kept = Path("mine.toml").read_text()
    forced, *_ = init("--key", PRO, "--output", "mine.toml", "--force")

    assert "mine.toml exists\n  Pass --force" in err
    assert (out, code, kept) == ("", 2, "# mine")
    assert load_target("mine.toml").personas
    assert forced == 0


def test_folder_that_cannot_be_written_is_named(init):
    Path("targets").write_text("a file")

    assert_refused(init("--key", PRO), 2, "targets/staging.toml")


def test_key_instead_of_a_variable_is_refused_and_not_shown(init, sandbox):
    result = init("--key", sandbox.keys["pro"])

    assert_refused(result, 2, "never the key itself")
    assert sandbox.keys["pro"] not in result[2]


KEY = ("--key", PRO)
REFUSED = {
    "nothing to ask": ((), None, 2, "init needs --url and --key"),
    "a refused key": (
        ("--key", "STAGING_KEY_REVOKED"),
        *(HERE, 2, "STAGING_KEY_REVOKED: 401", "mistyped or revoked"),
    ),
    "an unreachable host": (KEY, f"http://127.0.0.1:{free_port()}", 3, "Check", "--url"),
    "no address": (KEY, None, 2, "init needs --url and --key"),
    "an unset variable": ((*KEY, "--key", "NO_KEY"), HERE, 2, "NO_KEY is not set", "read -rs NO_KEY"),
    "one key twice": ((*KEY, "--key", "SAME_KEY"), HERE, 2, f"SAME_KEY: holds the same secret as {PRO}"),
    "a short variable": (("--key", "SHORT_KEY"), HERE, 2, "SHORT_KEY: ", "is not a secret"),
    "no address of a server": (KEY, "staging", 2, "--url: ", "Give scheme, host"),
    "keys in the clear": (KEY, "http://staging.example.com", 2, "unencrypted", "--plain-http"),
    "a missing folder": ((*KEY, "--output", "none/mine.toml"), HERE, 2, "there is no folder none"),
    "another suffix": ((*KEY, "--output", "staging"), HERE, 2, "ends with .toml"),
    "production": (KEY, "https://knouds.ai", 4, "production", "--yes-production"),
    "a host of production": (KEY, "https://staging.knouds.ai", 4, "production", "--no-production"),
    "production denied": ((*KEY, "--no-production"), "https://knouds.ai", 4, "--yes-production"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=list(REFUSED))
def test_wrong_arguments_write_no_profile(init, sandbox, case):
    arguments, url, code, *words = case

    assert_refused(init(*arguments, url=sandbox.base_url if url is HERE else url), code, *words)


def test_git_ignores_runs_and_keeps_what_ignored_them_before(init):
    init("--key", PRO)
    ignored = Path("reports/.gitignore")
    first = ignored.read_text(encoding="utf-8")
    ignored.write_text("mine\n", encoding="utf-8")

    init("--key", PRO, "--force")

    assert (first, ignored.read_text(encoding="utf-8")) == ("runs/\n", "mine\n")
