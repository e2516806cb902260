"""The grammar of capabilities and the rule that matches them, each compared with an independent oracle."""

import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from knouds_harness.contract.capabilities import is_capability, meets

RESOURCES = ["workflow", "model", "execution", "webhook", "agent"]
VERBS = ["run", "read", "write", "cancel", "receive", "invoke"]


def names():
    return st.text(string.ascii_lowercase + string.digits + "-", min_size=1, max_size=8)


def capabilities():
    return st.one_of(
        st.just("*"),
        st.builds("{}:{}".format, st.sampled_from(RESOURCES), st.sampled_from(VERBS)),
        st.builds("{}:*".format, st.sampled_from(RESOURCES)),
        st.builds("{}:{}:run".format, st.sampled_from(["workflow", "model"]), names()),
    )


def is_word(text):
    return all(part and set(part) <= set(string.ascii_lowercase) for part in text.split("-"))


def is_written_like_a_capability(text):
    match text.split(":"):
        case [only]:
            return only == "*"
        case [resource, verb]:
            return is_word(resource) and (verb == "*" or is_word(verb))
        case ["workflow" | "model", name, "run"]:
            return bool(name) and set(name) <= set(string.ascii_lowercase + string.digits + "-")
    return False


@given(text=st.text(":*-az09 A\n") | capabilities())
@example(text="workflow:portrait:run\n")
@example(text="workflow:portrait:read")
@example(text="execution:portrait:run")
@example(text="workflow:*:run")
@example(text="workflow:run:")
def test_grammar_admits_exactly_the_five_forms(text):
    assert is_capability(text) == is_written_like_a_capability(text)


@given(held=st.frozensets(capabilities(), max_size=4), required=capabilities())
@example(held=frozenset({"workflow:portrait:run"}), required="workflow:portrait-hd:run")
@example(held=frozenset({"workflow:portrait:run"}), required="workflow:run")
@example(held=frozenset({"workflow:write"}), required="workflow:read")
@example(held=frozenset({"workflow:*"}), required="*")
def test_requirement_is_met_only_by_equality_wildcard_or_star(held, required):
    resource = required.split(":")[0]
    passing = {"*", required} | ({f"{resource}:*"} if ":" in required else set())

    assert meets(held, required) == (not passing.isdisjoint(held))


@pytest.mark.parametrize("spelling", ["WORKFLOW:READ", "workflow:Read", " workflow:read", "workflow:read "])
def test_capabilities_match_exactly(spelling):
    assert not meets({spelling}, "workflow:read")
