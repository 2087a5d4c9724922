"""What data sets and tables hold by name or number has one owner each, and stays as it is."""

import ast
import pathlib

import pytest

from data_prep.records import findings, grades, levels, manifest, schema
from lumbarclip_jax.data import tasks

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
OWNERS = {
    "data_prep/records/levels.py": levels.DISCS,
    "data_prep/records/manifest.py": (manifest.FILE, *manifest.METADATA),
}


def literals(path: pathlib.Path) -> set[str]:
    """The strings that a file writes out."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {n.value for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str)}


@pytest.mark.parametrize("owner", OWNERS)
def test_a_name_is_written_by_its_owner_alone(owner):
    writers = {
        path.relative_to(REPOSITORY).as_posix()
        for package in ("data_prep", "lumbarclip_jax")
        for path in (REPOSITORY / package).rglob("*.py")
        if literals(path) & set(OWNERS[owner])
    }
    assert writers == {owner}


def test_what_data_sets_hold_keeps_its_meaning():
    assert schema.SCHEMA_VERSION == 1
    assert schema.LEVELS == ("L3-L4", "L4-L5", "L5-S1")
    assert schema.WHOLE_SPINE == "all"
    assert findings.STATUS == {"not_mentioned": 0, "present": 1, "absent": 2, "uncertain": 3}
    assert (findings.NOT_MENTIONED, findings.PRESENT) == (0, 1)
    assert (findings.ABSENT, findings.UNCERTAIN) == (2, 3)
    assert manifest.shard_name("train", 3, 12) == "lumbar_mri-train.array_record-00003-of-00012"
    assert manifest.SHARD.fullmatch(manifest.shard_name("train", 3, 12))


def test_what_tables_of_grades_hold_keeps_its_meaning():
    assert grades.LEVEL_OF_DISC == {"D3": "L3-L4", "D4": "L4-L5", "D5": "L5-S1"}
    assert grades.COLUMNS == ("Patient_ID", "D5", "D4", "D3")


def test_every_finding_of_reports_is_asked_for():
    # Spasm is the negative control, and stands among the main tasks under its own name.
    assert {*tasks.FINDINGS, "muscle_spasm"} == set(findings.FINDINGS)
    assert len(tasks.FINDINGS) == len(findings.FINDINGS) - 1
