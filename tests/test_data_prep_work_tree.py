"""A data set, its key and its tables do not go into a repository unnoticed."""

import pathlib
import shutil
import subprocess

import pytest

from data_prep.build import build, work_tree
from tests import data_prep_cohort as cohort

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")


@pytest.fixture
def repository(tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path / "repository"], check=True)
    return tmp_path / "repository"


@pytest.mark.parametrize(
    ("ignored", "expected"),
    [
        ("", {"set", "set.key"}),
        ("set/\n", {"set.key"}),
        ("*.key\n", {"set"}),
        ("/deep/\n", set()),
    ],
)
def test_what_is_not_ignored_is_named(repository, ignored, expected):
    (repository / ".gitignore").write_text(ignored)
    paths = [repository / "deep" / "down" / name for name in ("set", "set.key")]
    assert {path.name for path in work_tree.unignored(paths)} == expected


def test_a_place_outside_any_work_tree_is_fine(tmp_path):
    assert work_tree.unignored([tmp_path / "set"]) == []


def test_a_build_warns(repository, caplog):
    cohort.write_slices(repository / "images", 12, 16, sequences=("T1",))
    cohort.write_reports(repository / "reports.csv", 12)
    out = repository / "set"
    build(repository / "images", repository / "reports.csv", out, size_px=16)
    (said,) = [record.getMessage() for record in caplog.records if "git" in record.getMessage()]
    assert said.startswith(f"git would take along {out} and {out}.key: images, reports and")


def test_what_the_documented_commands_write_is_ignored(tmp_path):
    """So that `git add -A` after them takes nothing of a patient along."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    shutil.copy(REPOSITORY / ".gitignore", tmp_path)
    names = ("data/lumbar", "data/lumbar.key", "DATA", "DATA.key", "runs/lumbar", "exported/hf")
    names += (
        "metrics.json",
        "metrics.npz",
        "other.json",
        "findings.jsonl",
        "x.dropped.csv",
        "x.splits.csv",
    )
    names += ("x.audit.html",)
    assert work_tree.unignored([tmp_path / name for name in names]) == []
    code = ("lumbarclip_jax/data/x.py", "data_prep/build/x.py", "configs/data.py")
    assert len(work_tree.unignored([tmp_path / name for name in code])) == len(code)
