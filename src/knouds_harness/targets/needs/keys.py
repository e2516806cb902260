"""Needs for keys with certain rights, and for pairs of keys that are compared."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from knouds_harness.contract.operations import WITHOUT_KEYS, WITHOUT_MODELS
from knouds_harness.targets.needs import MAY_RUN, MAY_WRITE, Need, TwoKeys, permissions
from knouds_harness.targets.profile import Persona, Target
from knouds_harness.targets.resources import Funds, KeyState


def usable_keys(target: Target) -> list[Persona]:
    """Return the ``active_keys`` that do not hold ``*``, which only administrators' may."""
    return [key for key in active_keys(target) if not key.is_open]


def active_keys(target: Target) -> list[Persona]:
    """Return the active keys of accounts whose tier may hold keys, the most useful first.

    Ordinary users come before administrators. Then come the accounts with the most keys and workflows in the
    profile, as they allow comparisons; then accounts without a rate limit, and keys that hold more.
    """
    offered = Counter(key.user for key in target.personas.values())
    offered.update(workflow.owner for workflow in target.workflows.values())

    def preference(persona: Persona) -> tuple[bool, int, bool, int]:
        return (
            persona.role != "admin",
            offered[persona.user],
            persona.tier == "enterprise",
            len(persona.capabilities),
        )

    usable = [
        key for key in target.personas.values() if key.state == "active" and key.tier not in WITHOUT_KEYS
    ]
    return sorted(usable, key=preference, reverse=True)


def without_working_keys(tiers: Iterable[str]) -> str:
    """Say why there are no ``active_keys``, by the tiers of the keys that the server admits."""
    if named := " or ".join(sorted(set(tiers))):
        return f"The server admits a key, but keys of the tier {named} hold no capability"
    return "No key of the profile works"


def people(target: Target, *capabilities: str, funds: Funds | None = "enough") -> list[Persona]:
    """Return usable keys of ordinary users with these capabilities and funds; ``funds=None`` takes any."""
    return [
        key
        for key in usable_keys(target)
        if key.role != "admin" and funds in (None, key.credits) and key.holds(*capabilities)
    ]


def _key(*capabilities: str) -> Need[Persona]:
    also = permissions(capabilities)

    def fitting(target: Target) -> Iterator[Persona]:
        paying = people(target, *capabilities)
        yield from paying
        if MAY_RUN not in also:  # only runs cost credits
            keys = (key for key in usable_keys(target) if key.role != "admin" and key not in paying)
            yield from (key for key in keys if key.holds(*capabilities))

    return Need(says=f"a key that holds {listed(capabilities)}", fitting=fitting, also=also)


def listed(words: Sequence[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


ANY_KEY: Need[Persona] = Need(says="an active key", fitting=active_keys)
READER = _key("workflow:read")
WRITER = _key("workflow:write")
AUTHOR = _key("workflow:read", "workflow:write")
AUTHOR_WHO_RUNS = _key("workflow:read", "workflow:write", "workflow:run")
WORKFLOW_RUNNER = _key("workflow:run")
EXECUTION_READER = _key("execution:read")
EXECUTION_CANCELLER = _key("execution:cancel")


def may_run_models(persona: Persona) -> bool:
    return persona.tier not in WITHOUT_MODELS


MODEL_ACCOUNT: Need[Persona] = Need(
    says="an active key of a business or enterprise account",
    fitting=lambda target: filter(may_run_models, usable_keys(target)),
)
MODEL_RUNNER: Need[Persona] = Need(
    says="a key of a business or enterprise account that holds model:run",
    fitting=lambda target: filter(may_run_models, people(target, "model:run")),
    also=(MAY_RUN,),
)


def _particular(
    says: str, fits: Callable[[Persona], bool], *also: Need[object], state: KeyState = "active"
) -> Need[Persona]:
    """Make the need for a special key, one that ``usable_keys`` may leave out."""
    return Need(
        says=says,
        fitting=lambda target: (
            key
            for key in target.personas.values()
            if key.state == state and fits(key) and not (state == "active" and key.is_open)
        ),
        also=also,
    )


REVOKED_KEY = _particular('a key with state = "revoked"', lambda _: True, state="revoked")
LEGACY_KEY = _particular('a key with state = "legacy"', lambda _: True, state="legacy")
UNAPPROVED_KEY = _particular('a key with state = "unapproved"', lambda _: True, state="unapproved")
ADMIN_KEY = _particular(
    "an administrator's key that holds workflow:read and workflow:write",
    lambda key: key.role == "admin" and key.holds("workflow:read", "workflow:write"),
)
ADMIN_MODEL_RUNNER = _particular(
    "an administrator's key that holds model:run",
    lambda key: key.role == "admin" and key.holds("model:run"),
    MAY_RUN,
)
FREE_KEY = _particular(
    "a key of a free account that holds workflow:write",
    lambda key: key.tier == "free" and key.role != "admin" and key.holds("workflow:write"),
    MAY_WRITE,
)
PRO_MODEL_KEY = _particular(
    "a key of a pro account that holds model:run, not an administrator's",
    lambda key: key.tier == "pro" and key.role != "admin" and key.holds("model:run"),
    MAY_RUN,
)


# These forms of keys are tested on list operations, which need no resource.
STAR_KEY = _particular('an administrator\'s key that holds "*"', lambda key: "*" in key.capabilities)
WILDCARD_KEY = _particular(
    "a key that holds workflow:* or execution:*",
    lambda key: not key.capabilities.isdisjoint(("workflow:*", "execution:*")),
)
WILDCARD_ELSEWHERE_KEY = _particular(
    "a key that holds a wildcard such as execution:*, but not workflow:read",
    lambda key: any(":*" in each for each in key.capabilities) and not key.holds("workflow:read"),
)
EMPTY_KEY = _particular("a key that holds no capability", lambda key: not key.capabilities)
LESSER_KEY = _particular(
    "a key that holds a capability, but not workflow:read",
    lambda key: bool(key.capabilities) and not key.holds("workflow:read"),
)


# --- Two keys.


def _two_accounts(*capabilities: str) -> Need[TwoKeys]:
    """Make the need for keys of two accounts; the second is the key that other tests use least."""

    def fitting(target: Target) -> Iterator[TwoKeys]:
        keys = people(target, *capabilities)
        for first in keys:
            others = [key for key in reversed(keys) if key.user != first.user]
            if others:
                yield TwoKeys(first, max(others, key=lambda key: len(key.capabilities)))

    what = f"whose key holds {listed(capabilities)}" if capabilities else "with an active key"
    key = _key(*capabilities) if capabilities else ANY_KEY
    return Need(says=f"a second account {what}", fitting=fitting, also=(key,))


TWO_ACCOUNTS = _two_accounts()
TWO_AUTHORS = _two_accounts("workflow:read", "workflow:write")
TWO_AUTHORS_WHO_RUN = _two_accounts("workflow:read", "workflow:write", "workflow:run")


def key_of(target: Target, user: str, *capabilities: str) -> Persona | None:
    keys = (key for key in usable_keys(target) if key.user == user and key.holds(*capabilities))
    return next(keys, None)


def _author_and_lesser(target: Target) -> Iterator[TwoKeys]:
    for author in AUTHOR.fitting(target):
        keys = (key for key in usable_keys(target) if key.user == author.user)
        yield from (TwoKeys(author, key) for key in keys if not key.holds("workflow:write"))


AUTHOR_AND_LESSER: Need[TwoKeys] = Need(
    says="a key of the same account without workflow:write", fitting=_author_and_lesser, also=(AUTHOR,)
)
