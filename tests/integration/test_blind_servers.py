"""Sound servers of other authors get no finding.

The group ``blind`` has what Flask's needs; the others need Go, Node.js, and Ruby with Sinatra and Puma.
"""

import shutil
from typing import Any

import pytest
from blind import run as blind
from checking import broken_by, check
from example_targets import free_port

LIMITS = blind.LIMITS.replace("concurrency = 8", "concurrency = 16\nfill_rate_windows = false")


@pytest.mark.nightly
@pytest.mark.parametrize("form", [(), ("--other-way",)], ids=["first", "other"])
@pytest.mark.parametrize("name", ["flask", "go", "node", "ruby"])
def test_sound_server_has_no_finding(tmp_path, monkeypatch, name, form):
    """However its author decided what the pages leave open."""
    if name == "flask":
        pytest.importorskip("waitress", reason="needs waitress, of the group blind")
    elif not shutil.which(name):
        pytest.skip(f"needs {name}")
    port = free_port()
    options = ("--webhook-url", f"http://127.0.0.1:{port}/", "--webhook-secret", blind.SIGNED_WITH)

    with blind.serving(name, *options, *form) as said:
        text, secrets = blind.profile_of(said, blind.FUNDS[name], webhook_port=port, limits=LIMITS)
        (tmp_path / "blind.toml").write_text(text, encoding="utf-8")
        for variable, secret in dict[str, Any](secrets).items():
            monkeypatch.setenv(variable, secret)
        record = check(tmp_path, "--quick", "--seed", "1", "--target", "blind.toml")

    assert broken_by(record) == set()
