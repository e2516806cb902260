"""The control plane: closed without a token, exact with one."""

import httpx
import pytest

from knouds_harness.sandbox.serving import running_sandbox

PATHS = ["/__sandbox__/keys", "/__sandbox__/accounts", "/__sandbox__/clock"]


@pytest.fixture
def control(ask, shared_sandbox):
    """Call the control plane with its token."""
    headers = {"x-sandbox-token": shared_sandbox.control_token}
    return lambda path, body: ask("POST", f"/__sandbox__/{path}", headers=headers, json=body)


def test_control_plane_is_off_without_a_token():
    """Then its paths are like any unknown one, whatever is sent."""
    with running_sandbox() as sandbox, httpx.Client(base_url=sandbox.base_url) as client:
        codes = [client.post(path, headers={"x-sandbox-token": ""}, json={}).json()["code"] for path in PATHS]

    assert codes == ["NOT_FOUND"] * 3


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("token", ["", "wrong"])
def test_wrong_token_is_refused(ask, assert_refused, path, token):
    """The token is the key to it."""
    assert_refused(
        ask("POST", path, "admin", headers={"x-sandbox-token": token}, json={}), 401, "UNAUTHORIZED"
    )


def test_minted_key_holds_what_it_was_given(ask, mint):
    """Any set of capabilities, nothing more."""
    headers = mint("workflow:read")

    assert ask("GET", "/api/workflows/portrait", headers=headers).status_code == 200
    assert ask("DELETE", "/api/workflows/portrait", headers=headers).status_code == 403


@pytest.mark.parametrize(("state", "code"), [("revoked", "UNAUTHORIZED"), ("legacy", "LEGACY_KEY_RETIRED")])
def test_minted_key_may_be_out_of_use(ask, assert_refused, mint, state, code):
    """Any state."""
    assert_refused(ask("GET", "/api/whoami", headers=mint(state=state)), 401, code)


def test_opened_account_is_as_described(ask, control, mint):
    """Any tier, role and balance."""
    opened = control("accounts", {"tier": "custom", "role": "admin", "credits": 5, "grant": 3}).json()

    user = ask("GET", "/api/whoami", headers=mint(account=opened["account"])).json()["user"]

    assert (user["id"], user["tier"], user["role"]) == (opened["id"], "custom", "admin")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("keys", {"account": "ada"}),
        ("keys", {"account": "ada", "capabilities": "workflow:read"}),
        ("keys", {"account": "ada", "capabilities": ["workflow:read model:run"]}),
        ("keys", {"account": "ada", "capabilities": [], "state": "asleep"}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": "http://x"}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "ftp://x"}}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "http://"}}),
        ("keys", {"account": "ada", "capabilities": [], "webhook": {"url": "http://x", "secret": "short"}}),
        ("keys", []),
        ("accounts", {}),
        ("accounts", {"tier": "pro", "role": "king"}),
        ("accounts", {"tier": "pro", "credits": 1.5}),
        ("accounts", {"tier": "pro", "credits": 10**30}),
        ("accounts", {"tier": "pro", "grant": -1}),
        ("accounts", {"tier": "pro", "name": "ada"}),
        ("clock", {}),
        ("clock", {"advance_s": -1}),
        ("clock", {"advance_s": True}),
    ],
)
def test_unusable_order_is_refused(control, assert_refused, path, body):
    """With a sentence that says what is wrong."""
    assert_refused(control(path, body), 400, "INVALID_BODY")


def test_key_of_an_unknown_account_is_refused(control, assert_refused):
    """Accounts are opened first."""
    assert_refused(control("keys", {"account": "nobody", "capabilities": []}), 404, "NOT_FOUND")
