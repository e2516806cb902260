"""What holds for every test of the harness: loopback only, and nothing of the user's environment."""

import os
import signal
from collections.abc import Iterator

import hypothesis
import pytest

# As hypothesis's own "ci": on a busy machine anything may be slow, the drawing of examples too.
_BUSY = hypothesis.settings(deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.register_profile("dev", _BUSY, max_examples=50)
hypothesis.settings.register_profile("nightly", _BUSY, max_examples=2_000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if "CI" in os.environ else "dev"))


@pytest.hookimpl(tryfirst=True)  # pytest-socket reads its options as it is configured
def pytest_configure(config: pytest.Config) -> None:
    """Let processes that tests start talk to each other; no option of pytest's, as pytest-socket may lack."""
    config.option.allow_unix_socket = True


def pytest_make_parametrize_id(val: object) -> str | None:
    """Keep ids of tests readable whose parameters are long."""
    text = val if isinstance(val, str) else repr(val) if isinstance(val, bytes | int) else ""
    return f"{text[:30]}...{len(text)}" if len(text) > 100 else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse other hosts than loopback; the conformance suite has guards of its own."""
    for item in items:
        if not item.get_closest_marker("proves"):
            item.add_marker(pytest.mark.allow_hosts(["127.0.0.1", "::1", "localhost"]))


@pytest.fixture(autouse=True)
def clean_environ(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Clear ``KNOUDS_*`` and leave out the user's own files, apart from the conformance suite."""
    if not request.node.get_closest_marker("proves"):
        for kind in ("config", "data"):
            monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", str(tmp_path_factory.getbasetemp() / kind))
        for name in [name for name in os.environ if name.startswith("KNOUDS_")]:
            monkeypatch.delenv(name)


@pytest.fixture(autouse=True)
def heeded_signals() -> Iterator[None]:
    """Processes that tests start heed these signals, also under ``nohup`` and in a script's background.

    There they are ignored, which children inherit.
    """
    ignored = [
        each
        for each in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
        if signal.getsignal(each) is signal.SIG_IGN
    ]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
