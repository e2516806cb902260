"""Install this checkout into the environment of the Python that runs this file.

What it needs, and what builds it, comes from uv.lock, each file by its hash: nothing newer, and only wheels.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from pip._vendor.packaging.markers import Marker  # the environment has no other package yet

ROOT = Path(__file__).resolve().parents[1]
LOCK = tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))
PACKAGES = {each["name"]: each for each in LOCK["package"]}
PIP = [sys.executable, "-P", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]


def requirements() -> Iterator[str]:
    """Yield a line for each package, with the hashes of its wheels."""
    harness = PACKAGES["knouds-harness"]
    waiting = [*harness["dependencies"], *harness["optional-dependencies"]["all"], {"name": "hatchling"}]
    found = set()
    while waiting:
        needed = waiting.pop()
        package = PACKAGES[needed["name"]]
        if "marker" in needed and not Marker(needed["marker"]).evaluate():
            continue
        for extra in ("", *needed.get("extra", ())):
            if (needed["name"], extra) not in found:
                found.add((needed["name"], extra))
                of_extra = package.get("optional-dependencies", {}).get(extra, ())
                waiting += of_extra if extra else package.get("dependencies", ())
    for name in sorted({name for name, _ in found}):
        hashes = " ".join(f"--hash={wheel['hash']}" for wheel in PACKAGES[name]["wheels"])
        yield f"{name}=={PACKAGES[name]['version']} {hashes}\n"


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        locked = Path(folder, "locked.txt")
        locked.write_text("".join(requirements()), encoding="utf-8")
        subprocess.run([*PIP, "--require-hashes", "--only-binary", ":all:", "-r", locked], check=True)
    subprocess.run([*PIP, "--no-build-isolation", "--no-index", ROOT], check=True)
