"""Run folders, recordings and HARs from elsewhere are data: nothing is sent or written as they say."""

import pytest
from checking import knouds
from run_records import healthy

MINE = b"ssh-ed25519 mine\n"


@pytest.fixture
def mine(tmp_path):
    """A file of the user, outside of every folder that a command is given."""
    path = tmp_path / "authorized_keys"
    path.write_bytes(MINE)
    return path


@pytest.fixture
def run_folder(tmp_path):
    return healthy(tmp_path / "reports" / "runs")


@pytest.mark.parametrize(
    "name", ["report.html", "report.md", "junit.xml", "summary.json", "metrics.txt", "facts.csv"]
)
def test_report_writes_through_no_link(run_folder, mine, name):
    (run_folder / name).symlink_to(mine)

    process = knouds("report", run_folder, cwd=mine.parent)

    assert process.returncode == 2
    assert f"{name}: cannot be written: it is a link" in process.stderr
    assert mine.read_bytes() == MINE


def test_report_uses_no_name_that_can_be_foretold(run_folder, mine):
    for name in ("report.html", "report.md", "junit.xml", "summary.json", "metrics.txt", "facts.csv"):
        for part in (f"{name}.part", f".{name}.part", f"{name}.tmp", f"{name}~"):
            (run_folder / part).symlink_to(mine)

    process = knouds("report", run_folder, cwd=mine.parent)

    assert process.returncode == 0, process.stderr
    assert mine.read_bytes() == MINE
    assert (run_folder / "report.html").stat().st_size


def test_report_is_written_into_a_folder_that_the_user_names_by_a_link(run_folder, tmp_path):
    (tmp_path / "latest").symlink_to(run_folder)

    process = knouds("report", "latest", cwd=tmp_path)

    assert process.returncode == 0, process.stderr
    assert (run_folder / "report.html").stat().st_size


@pytest.mark.parametrize("name", ["compare.html", "compare.md", "compare.json"])
@pytest.mark.parametrize("is_output_given", [False, True], ids=["the run's folder", "--output"])
def test_compare_writes_through_no_link(run_folder, mine, tmp_path, name, is_output_given):
    baseline = healthy(tmp_path / "others")
    place = tmp_path / "pages" if is_output_given else run_folder
    place.mkdir(exist_ok=True)
    (place / name).symlink_to(mine)

    options = ("--output", place) if is_output_given else ()
    process = knouds("compare", baseline, run_folder, *options, cwd=tmp_path)

    assert process.returncode == 2
    assert "cannot be written to: it is a link" in process.stderr
    assert mine.read_bytes() == MINE


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("reports/baselines/spring.json", ("compare", "--keep", "spring")),
        ("{run}/baseline.json", ("report", "--baseline", "others")),
    ],
    ids=["compare --keep", "report --baseline"],
)
def test_baseline_is_written_through_no_link(run_folder, mine, tmp_path, name, arguments):
    healthy(tmp_path).rename(tmp_path / "others")
    link = tmp_path / name.format(run=run_folder)
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(mine)

    process = knouds(*arguments, run_folder, cwd=tmp_path)

    assert process.returncode == 2
    assert "cannot be written: it is a link" in process.stderr
    assert mine.read_bytes() == MINE
