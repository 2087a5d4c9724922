"""A table of one row an image: whose texts, labels and splits are whose, what is refused."""

import json
import subprocess
import sys

import pytest

from data_prep.records.scan import Inputs
from data_prep.sources import table
from data_prep.sources.table_rows import TableRows
from data_prep.tables.table import read_table
from data_prep.verify import verify
from tests import spider_folder as volumes
from tests.table_folder import HEADER, build_from, records, save, write


@pytest.fixture(scope="module")
def cohort_root(tmp_path_factory):
    """Eight patients with two discs each: a report for the odd ones, labels for all but one."""
    root = tmp_path_factory.mktemp("table")
    rows = [HEADER]
    for patient in range(1, 9):
        for place, level in enumerate(("L4/5", "L5-S1")):
            path = f"p{patient}/{place}.png"
            save(root / "images" / path, seed=10 * patient + place)
            report = f"Disc bulge, case {patient}." if patient % 2 else ""
            labels = ("", "") if patient == 8 else (patient % 2, 1 + (patient + place) % 3)
            rows.append((path, f"P{patient}", "t2w", level, report, *labels))
    return root, rows


@pytest.fixture(scope="module")
def built(cohort_root):
    return cohort_root[0] / "set", build_from(*cohort_root)


def test_rows_become_records_with_their_labels(built):
    folder, manifest = built
    found = records(folder)
    assert len(found) == 14
    assert [(task["name"], task["unit"]) for task in manifest["tasks"]] == [
        ("pain", "patient"),
        ("grade", "image"),
    ]
    assert manifest["tasks"][1]["classes"] == ["grade 1", "grade 2", "grade 3"]
    for record in found:
        if b"case" in record["report"]:
            patient = int(record["report"].decode().split("case ")[1][0])
            place = [b"L4-L5", b"L5-S1"].index(record["level"])
            assert record["labels"].tolist() == [1, (patient + place) % 3]
            assert record["report_source"] == b"written"
        assert (record["plane"], record["sequence"]) == (b"axial", b"T2")
    # Patient 8 has neither report nor label.
    assert manifest["dropped_by_reason"] == {"image_without_report": 2}
    assert manifest["image"]["pictures"] == "fitted"
    assert verify(folder)[0] == []


def test_without_a_report_the_labels_are_put_into_words(built):
    made = {r["report"].decode() for r in records(built[0]) if r["report_source"] == b"templated"}
    assert made == {
        f"No pain.\nL4-L5: Grade grade {1 + p % 3}.\nL5-S1: Grade grade {1 + (p + 1) % 3}."
        for p in (2, 4, 6)
    }


def test_findings_are_read_from_written_reports_alone(built):
    folder, manifest = built
    assert manifest["findings_source"] == "read from the reports for 4 of 4 patients"
    for record in records(folder):
        bulges = record["report_source"] == b"written"
        assert record["findings"].any() == bulges


def test_any_number_of_workers_gives_the_same_bytes(cohort_root, built):
    build_from(*cohort_root, out="two", workers=2)
    one, two = (
        {p.name: p.read_bytes() for p in (cohort_root[0] / name).iterdir()}
        for name in ("set", "two")
    )
    assert one == two


def test_slices_of_one_volume_have_labels_and_texts_of_their_own(tmp_path):
    (tmp_path / "images").mkdir()
    volumes.write_volume(tmp_path / "images" / "a.mha", volumes.sagittal_voxels())
    header = ("path", "patient", "sequence", "slice", "report", "report_2", "worse")
    rows = [header, ("a.mha", 1, "T2", 0, "A.", "At the left.", 1)]
    rows += [("a.mha", 1, "T2", 3, "", "", ""), ("a.mha", 1, "T2", 4, "a", "A.", 0)]
    manifest = build_from(tmp_path, rows, split_shares="test=1")
    found = sorted((r["labels"].tolist(), r["texts"]) for r in records(tmp_path / "set"))
    assert found == [([-1], []), ([0], []), ([1], [b"At the left."])]
    assert manifest["texts"] == {"kinds": {"text": 1}}
    assert manifest["dropped_by_reason"] == {"text_repeated": 1}
    assert verify(tmp_path / "set")[0] == []


def test_the_column_split_is_kept(cohort_root):
    root, (header, *rows) = cohort_root
    names = ("train", "Val", "test", "TRAIN")
    split = [(*row, names[int(row[1][1]) % 4]) for row in rows]
    manifest = build_from(root, [(*header, "split"), *split], out="given")
    counts = {name: counts["patients"] for name, counts in manifest["splits"].items()}
    assert counts == {"train": 3, "validation": 2, "test": 2}
    assert manifest["splits_source"] == "given in the table"
    with pytest.raises(ValueError, match="has a column split: leave out --split_file"):
        build_from(
            root, [(*header, "split"), *split], out="both", split_file=root / "given.splits.csv"
        )


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"report": "Another."}, r"row 3 has another report than a row above of the same patient"),
        ({"patient": "p1"}, r"row 3 has a patient id that differs from one above in zeros or case"),
        ({"plane": "coronal"}, r"row 3 has a plane that is none of axial, sagittal: correct it"),
        ({"spacing_mm": "wide"}, r"row 3 has a spacing_mm that is no number: correct it"),
        ({"spacing_mm": "50"}, r"row 3 has a spacing_mm that is not from 0.05 to 10"),
        ({"slice": "1.5"}, r"row 3 has a slice that is no whole number from 0"),
        ({"split": "train"}, r"row 2 has a split that is none of train, validation, test, or a"),
        ({"path": "a.png", "pain": "1"}, r"row 3 says other things of an image than row 2"),
    ],
)
def test_a_row_that_says_what_it_may_not_is_named(change, sentence, tmp_path):
    for name in "ab":
        save(tmp_path / "images" / f"{name}.png", seed=ord(name))
    row = {"path": "a.png", "patient": "P1", "sequence": "T2", "report": "A report.", "pain": "0"}
    columns = dict.fromkeys([*row, *change])
    rows = [columns, [row.get(name, "") for name in columns]]
    rows.append([(row | {"path": "b.png"} | change).get(name, "") for name in columns])
    with pytest.raises(ValueError, match=sentence):
        build_from(tmp_path, rows, split_shares="test=1")


def test_what_cannot_be_used_is_counted(tmp_path):
    save(tmp_path / "images" / "a.png")
    save(tmp_path / "images" / "b.png", seed=1)
    (tmp_path / "images" / "bad.png").write_bytes(b"no picture")
    row = ("a.png", 1, "T2", "", "A report.", 1, 2)
    rows = [HEADER, row, ("# a comment", "", "", "", "", "free text", "more"), row]
    for change in (
        {"path": "../a.png"},
        {"path": ""},
        {"path": "c.png"},
        {"path": "bad.png"},
        {"path": "b.png", "patient": ""},
        {"path": "b.png", "sequence": "STIR"},
        {"path": "b.png", "sequence": ""},
        {"path": "b.png", "level": "L1-L2"},
    ):
        rows.append(tuple((dict(zip(HEADER, row, strict=True)) | change).values()))
    manifest = build_from(tmp_path, rows, split_shares="test=1")
    assert manifest["dropped_by_reason"] == {
        "missing_image": 3,
        "unreadable_image": 1,
        "repeated_image": 1,
        "unknown_sequence": 2,
        "no_patient_id": 1,
        "bad_level": 1,
    }
    assert len(records(tmp_path / "set")) == 1


def test_nothing_usable_is_said_with_reasons(tmp_path):
    (tmp_path / "images").mkdir()
    rows = [HEADER, ("a.png", 1, "T2", "", "A report.", 1, 2)]
    with pytest.raises(
        ValueError, match=r"no image of .*set.csv can be used; left out are 1 missi"
    ):
        build_from(tmp_path, rows)


def test_labels_of_a_table_and_of_a_label_table_join(cohort_root):
    root, rows = cohort_root
    labels = [("patient", "smoker"), *((f"P{n}", n % 2) for n in range(1, 8))]
    manifest = build_from(root, rows, out="more", label_table=write(root / "more_l.csv", labels))
    assert [task["name"] for task in manifest["tasks"]] == ["pain", "grade", "smoker"]
    assert {r["labels"][2] for r in records(root / "more")} == {0, 1}
    same = write(root / "same.csv", [("patient", "Pain"), ("P1", 1)])
    with pytest.raises(ValueError, match="'pain' and 'Pain' both give the task pain"):
        build_from(root, rows, out="same_set", label_table=same)


def test_the_template_is_such_a_table(tmp_path):
    command = [sys.executable, "-m", "data_prep.build", f"--make_template={tmp_path}/own.csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = TableRows(read_table(tmp_path / "own.csv", option="--reports"))
    entries, drops = rows.entries()
    assert [entry.path for entry in entries] == ["p1/t2.png", "p2/t2.nii.gz", "p3/l45.dcm"]
    assert drops == []
    assert rows.labels == ["back_pain", "worst_grade"]
    assert rows.further == ["report_impression"]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2
    assert "--make_template writes a new file" in again.stderr


def test_the_command_needs_a_place_to_write_to():
    command = [sys.executable, "-m", "data_prep.build", "--images=x"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (
        2, "error: --out is missing: say where the data set is to be written\n"
    )  # fmt: skip


def test_levels_are_not_asked_for(tmp_path):
    with pytest.raises(ValueError, match="--levels is not for --source=table"):
        table.scan(Inputs(tmp_path, tmp_path / "t.csv", levels="blocks"))


def test_the_manifest_is_read_back_as_it_was_made(built):
    assert json.loads((built[0] / "manifest.json").read_text()) == json.loads(json.dumps(built[1]))
