"""A profile becomes a target, or a list of everything that is wrong with it."""

import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
from example_targets import sandbox_target

from knouds_harness.contract.operations import Action
from knouds_harness.errors import ProfileError, UnknownName, UsageError
from knouds_harness.exchange.redaction import Redactor
from knouds_harness.locations import builtin_targets_path
from knouds_harness.targets.profile import Limits, Target, _source, load_target

FULL_KEY = "knouds_live_" + "f" * 32
ADDRESS = 'base_url = "https://staging.example.com"\n'
KEY = """
[keys.full]
secret_env = "STAGING_KEY_FULL"
capabilities = ["workflow:run", "workflow:read"]
user = "ada"
tier = "pro"
"""


def problems(load, text: str, **environ: str) -> str:
    """Return the message about this profile, without its folder."""
    with pytest.raises(ProfileError) as caught:
        load(text, **environ)
    return re.sub(r"\S*/staging\.toml", "staging.toml", str(caught.value))


def test_only_reading_is_allowed_by_default(load):
    target = load(ADDRESS)

    assert (target.limits.allow, target.limits.credits) == ({Action.READ}, 0)


def test_sandbox_profile_names_every_variable_by_its_persona():
    text = (builtin_targets_path() / "sandbox.toml").read_text()

    target = sandbox_target()

    variables = {f"KNOUDS_SANDBOX_KEY_{name.upper().replace('-', '_')}" for name in target.personas}
    assert variables == {*re.findall(r'_env = "(\w+_KEY_\w+)"', text)}
    assert target.control is not None
    assert not target.missing


def test_example_profile_needs_only_one_key():
    example = builtin_targets_path() / "staging.example.toml"

    target = load_target(str(example), environ={"STAGING_KEY_FULL": FULL_KEY})

    assert (target.name, target.base_url) == ("staging.example", "https://staging.example.com")
    assert target.limits.allow > {Action.READ}
    assert target.personas["full"].secret.reveal() == FULL_KEY
    assert target.workflows["portrait"].inputs
    assert target.models["gpt-image-2"].polled
    assert target.webhook is None
    assert list(target.personas) == ["full"]
    assert "keys.revoked" in target.missing


@pytest.fixture
def targets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of profiles in the current folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "targets").mkdir()
    return tmp_path / "targets"


def test_file_named_like_the_builtin_target_is_refused_unless_it_is_the_same(targets: Path):
    """As in the harness's own repository, whose file is the one that is shipped."""
    file = targets / "sandbox.toml"
    file.write_bytes((builtin_targets_path() / "sandbox.toml").read_bytes())

    assert _source("sandbox") != file
    file.write_text(ADDRESS)
    with pytest.raises(UsageError, match=r'sandbox\.toml: "sandbox" is the name of the built-in target\n'):
        _source("sandbox")


@pytest.mark.parametrize("name", ["nope.toml", "targets/nope", "./nope.toml", "x" * 300, "x" * 300 + ".toml"])
def test_missing_file_is_named(name: str):
    with pytest.raises(UsageError, match=rf"{name}: (there is no such file|File name too long)\n  --target"):
        load_target(name)


@pytest.mark.parametrize("name", ["staging.toml", "staging", "."])
def test_folder_is_not_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    (tmp_path / name).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)

    with pytest.raises(UsageError, match=rf"{re.escape(name)}: is not a file"):
        load_target(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("targets/mine", "targets/mine.toml"), ("mine.toml", "mine"), ("x/mine.toml", "mine")]
)
def test_similar_name_is_suggested(targets: Path, name: str, meant: str):
    (targets / "mine.toml").touch()

    with pytest.raises(UsageError, match=f'Did you mean "{meant}"'):
        load_target(name)


def test_builtin_profile_cannot_be_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    mine = Target(name="mine", base_url="http://127.0.0.1:1", source=tmp_path / "targets" / "mine.toml")
    built_in = replace(mine, source=builtin_targets_path() / "sandbox.toml")

    assert mine.place == "targets/mine.toml"
    assert built_in.place == "a profile of your own for `knouds-harness sandbox`"


@pytest.mark.parametrize(("asked", "most"), [(None, 5), (3, 3), (0, 0), (5, 5), (9, 5)])
def test_smaller_of_two_limits_counts_and_the_remedy_names_it(asked, most):
    mine = Target(name="mine", base_url="http://127.0.0.1:1", limits=Limits(credits=5), source=Path("m.toml"))

    for by in ("--credits", "credits"):
        spending = mine.spending(asked, by=by)
        assert spending.limits.credits == most
        raised = by if most < 5 else "limits.credits in m.toml"
        assert spending.credits_remedy == f"Raise {raised}, or send less."


def test_unknown_target_names_the_nearest(targets: Path):
    """Of the profiles in the folder; an example is none."""
    (targets / "staging.toml").write_text(ADDRESS)
    (targets / "staging.example.toml").write_text(ADDRESS)

    with pytest.raises(
        UnknownName, match=r'no target "stagin" \(known: sandbox, staging\)\. Did you mean "staging"\?'
    ):
        load_target("stagin", environ={})


def test_optional_key_without_a_secret_is_not_an_error(load):
    target = load(ADDRESS + KEY + "optional = true\n")

    assert target.personas == {}
    assert target.missing == {"keys.full": "environment variable STAGING_KEY_FULL is not set"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_secret_is_read_from_a_file_beside_the_profile(tmp_path: Path, encoding: str):
    """Neither the line end nor a byte order mark counts, there or in the profile."""
    (tmp_path / "full.key").write_text(FULL_KEY + "\n", encoding=encoding)
    text = ADDRESS + KEY.replace("secret_env", "secret_file").replace("STAGING_KEY_FULL", "full.key")
    (tmp_path / "staging.toml").write_text(text, encoding=encoding)

    target = load_target(str(tmp_path / "staging.toml"), environ={})

    assert target.personas["full"].secret.reveal() == FULL_KEY


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no.key", "no.key cannot be read: No such file or directory"),
        ("~nosuchuser/no.key", "~nosuchuser/no.key cannot be read: No such file or directory"),
        ("x" * 300, "cannot be read: File name too long"),
        ("pipe", "pipe cannot be read: is a pipe without a writer"),
        ("folder", "folder cannot be read: Is a directory"),
        ("/dev/zero", "/dev/zero cannot be read: is a device or socket, not a file"),
        (r"no\u0000.key", "cannot be read as text"),
    ],
)
def test_unreadable_secret_file_is_refused_at_once(load, tmp_path: Path, name: str, reason: str):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()

    said = problems(
        load, ADDRESS + KEY.replace("secret_env", "secret_file").replace("STAGING_KEY_FULL", name)
    )

    assert reason in said


@pytest.mark.parametrize(
    "profile",
    [
        'base_url_env = "X"\n',
        ADDRESS + KEY.replace("STAGING_KEY_FULL", "X"),
        ADDRESS + KEY + 'webhook_secret_env = "X"\n',
        ADDRESS + '[webhook]\nurl = "https://hooks.example.com/x"\nsecret_env = "X"\n',
        ADDRESS + '[control]\nsecret_env = "X"\n',
        ADDRESS + '[http]\nproxy_env = "X"\n',
        ADDRESS + '[http]\nheaders_env.X-Gateway = "X"\n',
    ],
)
@pytest.mark.parametrize(
    "value", ["Canary", "Canary two", "ftp://Canary", "https://h.example/Canary/api", "https://Canary:99999"]
)
def test_no_problem_shows_what_a_variable_holds(load, profile, value):
    """A pull request may name any variable of the job."""
    assert "Canary" not in problems(load, f"flaw = 1\n{profile}", X=value, STAGING_KEY_FULL=FULL_KEY)


def test_every_problem_is_listed_at_once(load):
    said = problems(
        load,
        KEY
        + KEY.replace("keys.full", "keys.second").replace('"pro"', '"business"')
        + """
[keys.broken]
secret_env = "X"
capabilities = ["workflow run"]
user = "ada"
tier = 5
[limits]
credit = 5
concurrency = 0
[[waivers]]
reason = "because"
expires = "soon"
""",
    )

    for expected in (
        "base_url: is missing",
        "keys.full: environment variable STAGING_KEY_FULL is not set",
        'keys.second.tier: "business" contradicts "pro" in keys.full',
        'keys.broken.capabilities[0]: "workflow run" is not a capability',
        "keys.broken.tier: 5 should be a valid string",
        'limits.credit: unknown key\n  Did you mean "credits"?',
        "limits.concurrency: 0 should be greater than or equal to 1",
        'waivers[0].expires: "soon" should be a valid date\n  Write it without quotes',
    ):
        assert expected in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("base_url = ", "is not valid TOML: Invalid value (at end of document)"),
        (
            'base_url = "https://x.example"\nbase_url = "https://y.example"',
            "is not valid TOML: Cannot overwrite",
        ),
        ('[keys.x]\nsecret_evn = "SHOP_KEY"', 'keys.x.secret_evn: unknown key\n  Did you mean "secret_env"?'),
        ('[keys.x]\nwebhook_secret = "SHOP_KEY"', "keys.x.webhook_secret: is a secret in the profile"),
        ('bas_url = "https://x.example"', 'bas_url: unknown key\n  Did you mean "base_url"?'),
        ('base_url = "staging.example.com"', 'base_url: "staging.example.com" is not a base URL'),
        ('base_url = "ftp://staging.example.com"', "is not a base URL"),
        (f'base_url = "https://staging.example.com/{FULL_KEY}"', "base_url: holds a key or a password"),
        ('base_url = "https://staging.example.com/v1/api/"', "ends with /api"),
        ('base_url = "https://staging.example.com:99999"', "is not a base URL"),
        ('base_url = "https://staging.example.com/?x=1"', "is not a base URL"),
        ('base_url = "https://staging.example.com/api/workflows/a/run;x="', "is not a base URL"),
        ('base_url = "https://staging.example.com/v1/../admin"', "is not a base URL"),
        ('base_url = "https://staging.example.com/a%23"', "is not a base URL"),
        ('base_url = "https://staging.example.com//b"', "is not a base URL"),
        ('base_url = "http://staging.example.com"', "would send the keys unencrypted"),
        ('base_url = "https://eu.knouds.ai"', "production: is missing, and eu.knouds.ai may be production"),
        (ADDRESS + 'base_url_env = "URL"', "base_url: is set together with base_url_env"),
        ('base_url_env = "URL"', "base_url_env: environment variable URL is not set"),
        (ADDRESS + KEY.replace("STAGING_KEY_FULL", "EMPTY"), "environment variable EMPTY is empty"),
        (ADDRESS + KEY.replace("STAGING_KEY_FULL", "WORDS"), "keys.full: the value there is not a secret"),
        (ADDRESS + "whsec_0123456789abcdef", "Fix the file at that place."),
        (ADDRESS + '[limits]\nallow = ["read", "delete"]', '"delete" is not one of read, write, run, cancel'),
        (ADDRESS + '[limits]\ncredits_by = "me"', "limits.credits_by: unknown key"),
        (ADDRESS + '[workflows.a]\nowner = "ada"\nslug = "b"', "workflows.a.slug: unknown key"),
        (ADDRESS + 'name = "other"', "name: unknown key"),
        (ADDRESS + 'plain_http = "true"', '"true" should be a valid boolean\n  Write it without quotes'),
        (ADDRESS + '[models.a]\ncost_credits = "3"', 'models.a.cost_credits: "3" should be a valid number'),
        (ADDRESS + "[limits]\ncredits = inf", "should be a finite number"),
        (ADDRESS + '[limits]\ncredits = "many"', '"many" should be a valid number'),
        (
            ADDRESS + KEY + 'credits = "lots"',
            "neither a number of credits nor one of enough, none, exhausted, granted",
        ),
        (ADDRESS + KEY + "credits = -1", "keys.full.credits: -1 is neither a number"),
        (ADDRESS + KEY + "credits = true", "keys.full.credits: true is neither a number"),
        (ADDRESS + "[limits]\nconcurrency = 1.5", "1.5 should be a valid integer"),
        (ADDRESS + "limits = 5", "limits: 5 should be a dictionary"),
        (ADDRESS + "[keys.Full]\n", "keys.Full: is not a name"),
        (ADDRESS + '[keys.full]\nuser = "a"\ntier = "pro"', "keys.full.capabilities: is missing"),
        (
            ADDRESS + '[keys.full]\nuser = "a"\ntier = "pro"\ncapabilities = []',
            "keys.full: does not say where its secret is",
        ),
        (ADDRESS + KEY + 'state = "retired"', '"retired" is not one of active, revoked, legacy, unapproved'),
        (ADDRESS + KEY + 'secret_file = "x"', "keys.full: has both secret_env and secret_file"),
        (
            ADDRESS + KEY.replace("secret_env", "secret_keyring"),
            "keys.full.secret_keyring: is not read any more\n  Use secret_file, or secret_env",
        ),
        (
            ADDRESS + "[[waivers]]\nreason = 'r'\nexpires = 2027-01-01\ncheck = 'c'",
            "waivers[0]: does not say which findings",
        ),
        (ADDRESS + "[[waivers]]\nexpires = 2027-01-01", "waivers[0].reason: is missing"),
        (ADDRESS + KEY + "webhook = true", "keys.full.webhook: is true, but the profile has no [webhook]"),
        (
            ADDRESS + KEY + KEY.replace("keys.full", "keys.twin"),
            "keys.twin: holds the same secret as keys.full",
        ),
        (
            ADDRESS + KEY + '[workflows.portrait]\nowner = "Ada"',
            'workflows.portrait.owner: no key has the user "Ada"\n  Did you mean "ada"?',
        ),
        (
            ADDRESS + KEY.replace("STAGING_KEY_FULL", "NOT_SET"),
            (
                "keys.full: environment variable NOT_SET is not set\n"
                "  Set it, or mark [keys.full] optional = true, or remove it: "
                "the checks that need it then count as untested."
            ),
        ),
        *(
            (f'base_url = "https://{host}"', "is not a base URL")
            for host in ("a..b", "x" * 64 + ".example.com", ".example.com", "exa mple.com", "[::1")
        ),
        *(
            (f'{ADDRESS}[webhook]\nsecret_env = "HOOK_SECRET"\n{lines}', says)
            for lines, says in (
                ('url = "hooks.example.com"', 'webhook.url: "hooks.example.com" is not a URL'),
                ('url = "http://127.0.0.1:99999/"', "webhook.url: "),
                ('url = "https://a.example/"\nlisten = "9000"', "is not an address and port"),
                ('url = "https://a.example/"\nlisten = "127.0.0.1:0"', "webhook.listen: "),
                ('url = "https://a.example/"\nlisten = ":9000"', "webhook.listen: "),
            )
        ),
    ],
)
def test_broken_profile_is_explained(load, text: str, says: str):
    assert says in problems(
        load, text, STAGING_KEY_FULL=FULL_KEY, HOOK_SECRET="whsec_0123456789abcdef", EMPTY="", WORDS="a b"
    )


@pytest.mark.parametrize(
    ("lines", "listen", "is_direct"),
    [
        ('url = "http://127.0.0.1:9000/hook"', ("127.0.0.1", 9000), True),
        ('url = "http://localhost/hook"', ("localhost", 80), True),
        ('url = "http://[::1]:9000/hook"', ("::1", 9000), True),
        ('url = "https://127.0.0.1:9000/hook"', None, False),
        ('url = "https://hooks.example.com/x"', None, False),
        ('url = "https://hooks.example.com/x"\nlisten = "192.0.2.7:9000"', ("192.0.2.7", 9000), False),
        ('url = "http://127.0.0.1:80/x"\nlisten = "[::1]:9000"', ("::1", 9000), False),
    ],
)
def test_deliveries_are_received_where_the_profile_says(load, lines: str, listen, *, is_direct: bool):
    """At ``listen``, or at a plain-HTTP URL of this machine; otherwise nowhere."""
    text = f'{ADDRESS}[webhook]\nsecret_env = "HOOK_SECRET"\n{lines}\n'

    webhook = load(text, HOOK_SECRET="whsec_0123456789abcdef").webhook

    assert (webhook.receiver, webhook.is_direct) == (listen, is_direct)


def test_key_may_have_its_own_signing_secret(load):
    webhook = '[webhook]\nurl = "http://127.0.0.1:9000/"\nsecret_env = "HOOK_SECRET"\n'
    own = 'webhook = true\nwebhook_secret_env = "OWN_SECRET"\n'
    shared, other = "whsec_0123456789abcdef", "whsec_of_this_key_alone"

    target = load(
        f"{ADDRESS}{KEY}{own}{webhook}", STAGING_KEY_FULL=FULL_KEY, HOOK_SECRET=shared, OWN_SECRET=other
    )

    assert target.webhook_of(target.personas["full"]).secret.reveal() == other
    assert (
        Redactor.for_target(target).text(f"{shared} {other}") == "{{webhook-secret}} {{webhook-secret:full}}"
    )


@pytest.mark.parametrize(
    "text",
    [
        ADDRESS + KEY + f'secret = "{FULL_KEY}"',
        ADDRESS + KEY + f'note = "{FULL_KEY}"',
        ADDRESS + KEY.replace("STAGING_KEY_FULL", FULL_KEY),
        ADDRESS + KEY.replace("ada", FULL_KEY).replace('"pro"', "5"),
        ADDRESS + KEY.replace("pro", "ada", 1) + f'state = "{FULL_KEY}"',
        ADDRESS + f"[keys.{FULL_KEY}]",
        ADDRESS + f'api_key = "{FULL_KEY}"',
        f'base_url = "{FULL_KEY}"',
        f'base_url = "https://user:{FULL_KEY}@staging.example.com"',
        f'base_url = "{FULL_KEY}',
    ],
)
def test_secret_in_a_profile_is_never_shown(load, text: str):
    assert "f" * 8 not in problems(load, text)


def test_persona_is_printed_without_its_secret(load):
    target = load(ADDRESS + KEY, STAGING_KEY_FULL=FULL_KEY)

    assert FULL_KEY not in f"{target!r} {target.personas['full']} {target.personas['full'].secret}"
    assert "{{key:full}}" in repr(target)
