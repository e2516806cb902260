"""The least profile of a fact shows it on a server of its own; with one thing less, the fact is untested."""

from __future__ import annotations

import socket
from collections import defaultdict
from contextlib import contextmanager

import httpx
import pytest
from checking import check_for_record
from sampling import sampled

from knouds_harness.conformance.needs.least_profile_texts import words_of
from knouds_harness.conformance.needs.least_profiles import (
    ORDINARY_MODEL,
    ORDINARY_WORKFLOW,
    everything,
    least_profiles,
    one_thing_less,
    particular,
)
from knouds_harness.conformance.needs.need import missing_in
from knouds_harness.conformance.needs.reach import proofs_by_fact, provable_facts
from knouds_harness.contract.document import shipped_document
from knouds_harness.reporting.check.fact_status import FactStatus, fact_rows
from knouds_harness.targets.builtin import target_environment

WHOLE = everything()
PROFILES = least_profiles(WHOLE)
LEAST = {fact: least.target for fact, least in PROFILES.items()}
NEVER_VERIFIED = {
    "ground.additive-change-is-legal",
    "ground.body-needs-json-content-type",
    "tier.free-has-no-key-access",
    "tier.creator-has-no-key-access",
}
# Shown by a window that is filled in real time; benchmarks/reach.py sees them verified.
SHOWN_BY_FULL_WINDOW = {
    "rate.over-limit-is-429",
    "rate.refusal-fields",
    "rate.refusal-headers",
    "rate.body-and-headers-agree",
    "rate.separate-per-route",
}
OTHER_WORDS = {
    "key": ("account",),
    "*": ("administrator",),
    "workflow:*": ("workflow:",),
    "execution:*": ("execution:",),
    "workflow:portrait:run": ("workflow:<slug>:run",),
    "workflow:run": ("some capability",),
}


def groups():
    """Facts that have the same least profile, with that."""
    facts = defaultdict(list)
    for fact, profile in LEAST.items():
        if fact not in SHOWN_BY_FULL_WINDOW:
            facts[repr((profile.limits, profile.personas, profile.workflows, profile.models))].append(fact)
    return [sorted(each) for each in facts.values()]


def test_every_fact_that_can_be_verified_has_a_least_profile():
    """What no profile can show is listed, and nothing else."""
    assert set(shipped_document().facts) - set(LEAST) == NEVER_VERIFIED


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        ("model.run-under-business-is-403", "a key of a pro account"),
        ("rate.window-is-fixed-60-s", "a key of a pro account"),
        ("model.async-not-supported-is-400", "polled = false"),
        ("schema.public-only-when-public", "public = false"),
        ("capability.star-is-admitted", "an administrator's key"),
        ("whoami.user-object", "a key"),
    ],
)
def test_words_name_what_decides(fact, words):
    """Also where it is ordinary; and nothing that does not matter."""
    said = words_of(PROFILES[fact])

    assert words in said
    assert ("pro" in said) == ("pro" in words)


@contextmanager
def served(profile, folder):
    """A sandbox with keys that hold just what a profile says, and that profile as a file."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        webhook_url = f"http://127.0.0.1:{free.getsockname()[1]}/deliveries"
    with target_environment("sandbox", seed=1) as variables:
        base_url, token = variables["KNOUDS_SANDBOX_URL"], variables["KNOUDS_SANDBOX_CONTROL_TOKEN"]
        lines = [f'base_url = "{base_url}"', "[limits]", "credits = 5000"]
        lines.append(f"allow = {sorted(str(each) for each in profile.limits.allow)}")
        for name, key in profile.personas.items():
            state = "active" if key.state == "unapproved" else key.state  # that is its account's
            wanted = {"account": key.user, "capabilities": sorted(key.capabilities), "state": state}
            if key.webhook:
                wanted["webhook"] = {"url": webhook_url, "secret": "whsec_of_the_least_profile"}
            made = httpx.post(
                f"{base_url}/__sandbox__/keys", headers={"x-sandbox-token": token}, json=wanted
            ).raise_for_status()
            (folder / f"{name}.key").write_text(made.json()["secret"])
            known = WHOLE.personas[name]
            lines += [f"[keys.{name}]", f'secret_file = "{folder / name}.key"', f'user = "{key.user}"']
            lines += [f'tier = "{known.tier}"', f'role = "{key.role}"', f'state = "{key.state}"']
            lines += [f"capabilities = {sorted(key.capabilities)}", f'credits = "{key.credits}"']
            lines += ["webhook = true"] if key.webhook else []
        for slug, workflow in profile.workflows.items():
            members = {"inputs": workflow.inputs, **particular(workflow, ORDINARY_WORKFLOW)}
            lines += [f"[workflows.{slug}]", f'owner = "{workflow.owner}"', *written(members)]
        for name, model in profile.models.items():
            lines += [
                f"[models.{name}]",
                *written({"inputs": model.inputs, **particular(model, ORDINARY_MODEL)}),
            ]
        if profile.webhook is not None:
            (folder / "webhook.key").write_text("whsec_of_the_least_profile")
            lines += ["[webhook]", f'url = "{webhook_url}"', f'secret_file = "{folder / "webhook.key"}"']
        if profile.control is not None:
            (folder / "control.key").write_text(token)
            lines += ["[control]", f'secret_file = "{folder / "control.key"}"']
        file = folder / "least.toml"
        file.write_text("\n".join(lines))
        yield str(file)


def written(members):
    """Members as TOML has them."""
    for name, value in members.items():
        if isinstance(value, bool):
            yield f"{name} = {str(value).lower()}"
        elif isinstance(value, str):
            yield f'{name} = "{value}"'
        elif isinstance(value, dict):
            pairs = ", ".join(f'{key} = "{each}"' for key, each in value.items())
            yield f"{name} = {{ {pairs} }}"
        else:
            yield f"{name} = {value:g}"


def verified(profile, folder, facts):
    """Which of these facts a check verifies with a profile."""
    with served(profile, folder) as file:
        options = [option for fact in facts for option in ("--fact", fact)]
        record = check_for_record(folder, "--target", file, "--seed", "1", "--quick", *options)
    return {row.fact.id for row in fact_rows(record) if row.standing is FactStatus.VERIFIED}


@pytest.mark.parametrize("facts", sampled(groups(), every=8), ids=lambda facts: facts[0])
def test_least_profile_shows_the_fact(facts, tmp_path):
    """A key that holds just that, and the resources, are enough."""
    assert set(facts) - verified(LEAST[facts[0]], tmp_path, facts) == set()


@pytest.mark.parametrize("fact", LEAST)
def test_with_one_thing_less_the_fact_is_untested(fact):
    """No test shows it any more, and those that did say that this thing is missing."""
    ways = [proof for proof in proofs_by_fact()[fact] if not missing_in(LEAST[fact], proof)]

    for thing, profile in one_thing_less(LEAST[fact]):
        assert fact not in provable_facts(profile), thing
        for missing in (" ".join(missing_in(profile, proof)) for proof in ways):
            assert any(word in missing for word in (thing, *OTHER_WORDS.get(thing, ()))), (thing, missing)
