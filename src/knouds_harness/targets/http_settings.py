"""``[http]`` of a profile: settings for a gateway or proxy between this machine and the target."""

import re
import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import InstanceOf

from knouds_harness.contract.effects import may_override
from knouds_harness.errors import UsageError
from knouds_harness.targets.profile_format import NOT_IN_FILE, Problem, Text, is_sensitive_name, without_value
from knouds_harness.targets.secrets import HEADER_VALUE, Secret, SecretReader, SecretSource

_HEADER_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*")
DEFAULT_HEADERS: Final = (
    ("user-agent", "knouds-harness"),
    ("accept", "application/json"),
    ("accept-encoding", "identity"),  # so that the evidence has the body as it was sent
)
"""Sent with each request that does not name them itself."""
_SET_BY_THE_CLIENT: Final = frozenset(
    {"connection", "content-length", "content-type", "host", "transfer-encoding"}
    | {"x-api-key", "x-sandbox-token"}
    | {name for name, _ in DEFAULT_HEADERS}
)


@dataclass(frozen=True, kw_only=True)
class Proxy:
    url: str
    user: str = ""
    password: Secret | None = None

    @property
    def authority(self) -> str:
        return urlsplit(self.url).netloc


@dataclass(frozen=True, kw_only=True)
class HttpSettings:
    """Headers, proxy and certificates for every request to the target: ``[http]``.

    Attributes:
        via: The proxy of ``proxy`` or ``proxy_env``; None to connect directly.
    """

    headers: Mapping[Text, Text] = field(default_factory=dict)
    headers_env: Mapping[Text, Text] = field(default_factory=dict)
    proxy: Text | None = None
    proxy_env: Text | None = None
    ca_file: Path | None = None
    client_certificate: Path | None = None
    client_key: Path | None = None
    traceparent: bool = True
    secret_headers: Annotated[Mapping[str, InstanceOf[Secret]], NOT_IN_FILE] = field(default_factory=dict)
    via: Annotated[InstanceOf[Proxy] | None, NOT_IN_FILE] = None

    @property
    def revealed_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers as they are sent; never write them to a file."""
        return (
            *self.headers.items(),
            *((name, secret.reveal()) for name, secret in self.secret_headers.items()),
        )

    @property
    def is_traced(self) -> bool:
        """Whether each request gets its own trace id; False if the profile sets ``traceparent`` itself."""
        names = {name.lower() for name, _ in self.revealed_headers}
        return self.traceparent and "traceparent" not in names

    @property
    def secrets(self) -> tuple[Secret, ...]:
        password = self.via.password if self.via else None
        return (*self.secret_headers.values(), *((password,) if password else ()))

    def configure(self, context: ssl.SSLContext) -> None:
        """Make a context trust ``ca_file`` and use the client certificate."""
        for problem in self._unusable(context):
            raise UsageError(f"[http] {problem.where}: {problem.says}\n  {problem.remedy}")

    def problems(self) -> list[Problem]:
        is_plain = self.ca_file is None and self.client_certificate is None
        return [] if is_plain else list(self._unusable(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)))

    def _unusable(self, context: ssl.SSLContext) -> Iterator[Problem]:
        if self.ca_file is not None:
            try:
                context.load_verify_locations(self.ca_file)
            except OSError as error:  # ssl.SSLError is one
                yield _unusable_file("ca_file", self.ca_file, error, "certificates")
        if self.client_certificate is not None:
            try:
                # Without this, OpenSSL would prompt for the password of an encrypted key.
                context.load_cert_chain(self.client_certificate, self.client_key, password="")
            except OSError as error:  # OpenSSL does not say which of the two files it means
                both = " with ".join(str(each) for each in (self.client_certificate, self.client_key) if each)
                yield _unusable_file(
                    "client_certificate", both, error, "the certificate and its key, unencrypted"
                )


def complete_http(http: HttpSettings, secrets: SecretReader) -> HttpSettings:
    """Fill in secrets from environment variables and absolute file paths; note problems in ``secrets``."""

    def absolute(file: Path | None) -> Path | None:
        return secrets.file_named(str(file)).absolute() if file else None

    secret_headers, problems = {}, secrets.problems
    for name, variable in http.headers_env.items():
        where = f"http.headers_env.{name}"
        source, label = SecretSource(secret_env=variable), f"header:{name.lower()}"
        secret = secrets.read(source, where=where, label=label, form=HEADER_VALUE)
        unusable = list(_header_problems(name, where))
        problems += unusable
        if secret and not unusable:
            secret_headers[name] = secret
    for name, value in http.headers.items():
        problems += _header_problems(name, f"http.headers.{name}", value)
    completed = replace(
        http,
        secret_headers=secret_headers,
        via=_proxy(http, secrets),
        ca_file=absolute(http.ca_file),
        client_certificate=absolute(http.client_certificate),
        client_key=absolute(http.client_key),
    )
    if completed.client_key and not completed.client_certificate:
        says, remedy = "is set without client_certificate", "Name the certificate that belongs to the key."
        problems.append(Problem(where="http.client_key", says=says, remedy=remedy))
    problems += completed.problems()
    return completed


def _header_problems(name: str, where: str, value: str | None = None) -> Iterator[Problem]:
    """Yield why a header cannot be sent; ``value`` is its value if that is in the profile."""
    if value is not None and is_sensitive_name(name):
        says = "may be a secret in the profile"
        remedy = f"Write headers_env.{name} with the name of an environment variable that holds it."
    elif value is not None and not (value.isascii() and value.isprintable()):
        says, remedy = "has characters that a header cannot hold", "Use printable ASCII characters."
    elif not _HEADER_NAME.fullmatch(name):
        says, remedy = "is not a header name", "Use letters, digits and hyphens."
    elif name.lower() in _SET_BY_THE_CLIENT:
        says, remedy = "is a header that the harness sets itself", "Remove it."
    elif may_override(name):
        says, remedy = "may turn a request into another, such as one that deletes", "Remove it."
    else:
        return
    yield Problem(where=where, says=says, remedy=remedy)


def _proxy(http: HttpSettings, secrets: SecretReader) -> Proxy | None:
    if http.proxy is None and http.proxy_env is None:
        return None
    where = "http.proxy" if http.proxy_env is None else "http.proxy_env"
    url = http.proxy if http.proxy_env is None else secrets.environ.get(http.proxy_env, "").strip()
    problem = ""
    try:
        parts = urlsplit(url or "")
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:
        is_url = False
    if http.proxy is not None and http.proxy_env is not None:
        problem, remedy = "is set together with proxy", "Keep one of them."
    elif not url:
        problem = without_value(http.proxy_env or "", secrets.environ)
        remedy = "Set it to the proxy's URL."
    elif not is_url or parts.path.strip("/") or parts.query or parts.fragment:
        problem = "is not a proxy that the harness can use"
        remedy = 'Write scheme http or https, host and port, such as "http://proxy.example.com:3128".'
    elif "@" in parts.netloc and http.proxy is not None:
        problem = "holds a user name or a password"
        remedy = "Put the whole URL into an environment variable, and name that as proxy_env."
    if problem:
        secrets.problems.append(Problem(where=where, says=problem, remedy=remedy))
        return None
    return Proxy(
        url=f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}",
        user=unquote(parts.username or ""),
        password=Secret(unquote(parts.password), "proxy-password") if parts.password else None,
    )


def _unusable_file(key: str, path: Path | str, error: OSError, what: str) -> Problem:
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return Problem(
        where=f"http.{key}",
        says=f"{path} cannot be used: {(reason or str(error)).replace('_', ' ').lower()}",
        remedy=f"Name a file in PEM format that holds {what}.",
    )
