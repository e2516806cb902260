"""An altered key is altered again in the same way, in Python and in a shell."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter, ValidationError

from knouds_harness.exchange.alterations import Alteration
from knouds_harness.suite.generation.strategies import altered_keys, key_alterations
from knouds_harness.targets.secrets import Secret

KEY = "knouds_live_" + "aB3-xY_9pQ" * 3 + "Zz0"
OTHER = "knouds_live_" + "mM7-nN_8oO" * 3 + "Yy1"
READ = TypeAdapter(Alteration)
SECRETS = (Secret("token-0123456789abcdef", "control-token"), Secret(KEY, "key:full"))


@pytest.mark.skipif(shutil.which("sh") is None, reason="needs a POSIX shell")
@pytest.mark.parametrize("way", key_alterations(KEY))
def test_shell_alters_another_key_in_the_same_way(way):
    alteration = Alteration.of(key_alterations(KEY)[way], SECRETS)

    assert alteration is not None
    assert alteration.label == "key:full"
    process = subprocess.run(
        ["/bin/sh", "-c", f'printf %s "{alteration.expression("K")}"'],
        env={"K": KEY, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout == key_alterations(KEY)[way] == alteration.apply(KEY)


@settings(max_examples=50)
@given(altered=altered_keys(Secret(KEY, "key:full")).map(Secret.reveal))
def test_alteration_reveals_nothing_of_the_key(altered):
    alteration = Alteration.of(altered, SECRETS)

    if alteration is not None:  # a prefix of three characters names no key
        assert alteration.apply(KEY) == altered
        assert READ.validate_json(READ.dump_json(alteration)) == alteration
        assert sum(len(each) for each in alteration.pieces if isinstance(each, str)) <= 4


def test_another_key_is_not_an_alteration():
    assert Alteration.of(OTHER, SECRETS) is None


@pytest.mark.parametrize("damaged", [{"case": "; id"}, {"pieces": [[0, "4; id"]]}])
def test_invalid_stored_alteration_is_refused(damaged):
    """A stored alteration cannot add a command to a shell line."""
    with pytest.raises(ValidationError):
        READ.validate_python({"label": "key:full", "case": "upper", "pieces": [], **damaged})
