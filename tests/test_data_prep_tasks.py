"""Tasks that a data set brings along: what columns ask, whose labels are whose, what is refused."""

import csv
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import audit
from data_prep.build import build, splits
from data_prep.records import tasks
from data_prep.records.label_table import read_label_table
from data_prep.records.manifest import seal
from data_prep.sources import mendeley
from data_prep.tables.table import read_table
from data_prep.verify import verify
from lumbarclip_jax.data.tasks import ANY_FINDING, TASKS
from tests import data_prep_cohort as cohort

PATIENTS = 12
SLICES = "04_Intermediary_Ground_Truth_Data"


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(tmp_path, column, cells):
    """The one task of a column, and the labels of its rows."""
    rows = [("patient", column), *enumerate(cells, start=1)]
    table = read_table(write(tmp_path / "t.csv", rows), option="--label_table")
    (task,), labels = tasks.read_tasks(table, [column], tasks.PATIENT)
    return task, [row.get(task.name) for row in labels]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root, PATIENTS, 16, sequences=("T1",))
    cohort.write_reports(root / "reports.csv", PATIENTS)
    (root / "key").write_text("ab" * 32)
    return root


def build_from(inputs, out, **options):
    shares = "train=0.5,validation=0.25,test=0.25"
    options = {"split_shares": shares, "key_file": inputs / "key", "size_px": 16} | options
    return build(inputs, inputs / "reports.csv", out, **options)


def records(folder):
    builder = tfds.builder_from_directory(folder)
    return [record for split in builder.info.splits for record in builder.as_data_source(split)]


def number_of(record) -> int:
    """The patient's, from a report that is not the boiler-plate."""
    return int(record["report"].decode().split("number ")[1].split(",")[0])


@pytest.mark.parametrize(
    ("cells", "classes", "ordered", "labels"),
    [
        (["0", "1", "", "n/a"], ("no back pain", "back pain"), False, [0, 1, None, None]),
        (["Yes", "no", "TRUE", "0.0"], ("no back pain", "back pain"), False, [1, 0, 1, 0]),
        (["-1", "0", "1", "-1.0"], ("no back pain", "back pain"), False, [-2, 0, 1, -2]),
        (["1", "1"], ("no back pain", "back pain"), False, [1, 1]),
        (["1.0", "4", "2"], ("grade 1", "grade 2", "grade 3", "grade 4"), True, [0, 3, 1]),
        (["left", "right ", "Left", "none"], ("Left", "right"), False, [0, 1, 0, None]),
        (["b", "c", "a"] * 2, ("a", "b", "c"), False, [1, 2, 0] * 2),
    ],
)
def test_cells_tell_what_a_column_asks(cells, classes, ordered, labels, tmp_path):
    task, found = read(tmp_path, "Back_pain", cells)
    classes = tuple(name.replace("back", "Back") for name in classes)
    assert task == tasks.Task("back_pain", classes, "patient", ordered, "Back_pain")
    assert found == labels


@pytest.mark.parametrize(
    ("columns", "cells", "sentence"),
    [
        (["age"], range(20, 33), "'age' numbers that are no classes.* an id or a measurement"),
        (["size"], [1.5, 2.5, 1.5], "'size' numbers that are no classes"),
        (["far"], [1, 900, 1], "'far' numbers that are no classes"),
        (
            ["name"],
            ["Ann", "Bob", "Carl"],
            r"'name' 3 different texts in 3 rows.* an id or",
        ),
        (["site"], [f"s{n}" for n in range(51)] * 3, r"'site' 51 different texts in 153 rows"),
        (["a-b", "A b"], [0, 1], "'a-b' and 'A b' both give the task a_b: rename one"),
        (["Pfirrmann"], [1, 2], "called like the task pfirrmann that every data set has: rename"),
        (["Muscle spasm"], [1, 0], "called like the task muscle_spasm"),
        (["疼痛"], [0, 1], "gives no name of letters a-z and digits: rename it"),
        (["", "x"], [0, 1], "has no name above column 2: give it one"),
        (["split"], ["train", "test"], "has no column of labels beside those of ids"),
        (["empty"], ["", "-"], "has no column of labels"),
    ],
)
def test_what_is_no_task_is_refused(columns, cells, sentence, tmp_path):
    rows = [("patient", *columns)]
    rows += [(n, *[cell] * len(columns)) for n, cell in enumerate(cells, start=1)]
    path = write(tmp_path / "t.csv", rows)
    with pytest.raises(ValueError, match=sentence):
        read_label_table(path, patient_key=mendeley.patient_key)


def test_the_reserved_names_are_those_of_the_tasks_of_every_data_set():
    assert set(tasks.BUILT_IN) == {ANY_FINDING.name, *TASKS}
    assert all(map(tasks.NAME.fullmatch, tasks.BUILT_IN))


@pytest.mark.parametrize("id_column", ["patient", "Patient_ID", "PATIENT ID", "patient id"])
def test_ids_are_found_and_are_no_labels(id_column, tmp_path):
    rows = [(id_column, "split", "Study UID", "lbp"), (1, "train", "1.2.3", 0), ("0002", "", "", 1)]
    path = write(tmp_path / "t.csv", rows)
    found, drops = read_label_table(
        path, patient_key=mendeley.patient_key, patient_column=mendeley.PATIENT_COLUMN
    )
    assert [task.name for task in found.tasks] == ["lbp"]
    labels = [(line.subject.patient, line.codes) for line in found.lines]
    assert labels == [("0001", {"lbp": 0}), ("0002", {"lbp": 1})]
    assert drops == []


def test_rows_of_one_patient_complete_each_other_and_may_not_differ(tmp_path):
    rows = [("patient", "a", "b"), (1, 0, ""), (2, 1, 1), (1, "", 1), ("", 1, 1)]
    path = write(tmp_path / "t.csv", rows)
    found, drops = read_label_table(path, patient_key=mendeley.patient_key)
    assert [line.codes for line in found.lines] == [{"a": 0, "b": 1}, {"a": 1, "b": 1}]
    assert [(drop.location, drop.detail) for drop in drops] == [("labels row 5", "no patient id")]
    write(path, [*rows, (2, 0, 1)])
    with pytest.raises(ValueError, match=r"t.csv row 6 has another label of a than a row above"):
        read_label_table(path, patient_key=mendeley.patient_key)


def test_records_hold_the_labels_of_their_patient(inputs, tmp_path, caplog):
    rows = [("patient_id", "odd", "third", "all")]
    rows += [(p, p % 2, "" if p == 2 else p % 3 + 1, 1) for p in range(1, PATIENTS + 3)]
    table = write(tmp_path / "labels.csv", rows)
    manifest = build_from(inputs, tmp_path / "set", label_table=table)
    assert manifest["tasks"] == [
        {"name": name, "classes": classes, "unit": "patient", "ordered": ordered, "column": name}
        for name, classes, ordered in (
            ("odd", ["no odd", "odd"], False),
            ("third", ["grade 1", "grade 2", "grade 3"], True),
            ("all", ["no all", "all"], False),
        )
    ]
    assert manifest["dropped_by_reason"] == {"labels_without_image": 2}
    assert "the column 'all' of" in caplog.text
    seen = 0
    for record in records(tmp_path / "set"):
        assert record["labels"].dtype == np.int8
        if b"number" in record["report"]:
            patient = number_of(record)
            third = -1 if patient == 2 else patient % 3
            assert record["labels"].tolist() == [patient % 2, third, 1]
            seen += 1
    assert seen == 27
    assert verify(tmp_path / "set")[0] == []
    page = audit.write_audit(tmp_path / "set").read_text()
    assert "third, by patient" in page
    # Patients 2 of 12 are not labelled; a class that nobody has is shown, uncertain ones are not.
    counts = page.split("third, by patient")[1].split("</table>")[0]
    assert [name in counts for name in ("grade 3", "none", "uncertain")] == [True, True, False]


def test_labels_of_images_go_to_these_alone(inputs, tmp_path):
    def place(patient, disc):
        return f"{SLICES}/T1_Output/T1_{patient:04d}_{disc}.png"

    rows = [("path", "patient", "good")]
    rows += [
        (place(p, d), p, int(d == "D4") - (p == 1)) for p in range(1, 12) for d in cohort.DISCS
    ]
    rows += [(f"{SLICES}/T1_Output/T1_0099_D3.png", 99, 1), ("", 1, 0)]
    rows[5] = (rows[5][0].replace("/", "\\"), *rows[5][1:])
    table = write(tmp_path / "labels.csv", rows)
    manifest = build_from(inputs, tmp_path / "set", label_table=table)
    assert manifest["tasks"][0]["unit"] == "image"
    assert manifest["dropped_by_reason"] == {"labels_without_image": 2}
    for record in records(tmp_path / "set"):
        at_l4 = int(record["level"] == b"L4-L5")
        if b"number" in record["report"]:
            patient = number_of(record)
            expected = {-1: -2, 0: 0, 1: 1}[at_l4 - (patient == 1)]
            assert record["labels"].tolist() == [expected]
    assert sum(record["labels"][0] == -1 for record in records(tmp_path / "set")) == 3  # patient 12
    assert verify(tmp_path / "set")[0] == []


def test_labels_of_nobody_here_are_refused(inputs, tmp_path):
    table = write(tmp_path / "labels.csv", [("patient", "x"), (77, 1), (78, 0)])
    with pytest.raises(ValueError, match=r"labels.csv labels none of the records: correct its ids"):
        build_from(inputs, tmp_path / "set", label_table=table)


def test_a_data_set_without_label_columns_has_neither_tasks_nor_labels(inputs, tmp_path):
    manifest = build_from(inputs, tmp_path / "set")
    assert "tasks" not in manifest
    assert all("labels" not in record for record in records(tmp_path / "set"))


def test_other_names_of_classes_are_another_data_set(inputs, tmp_path):
    plans = []
    for column in ("pain", "ache"):
        table = write(tmp_path / "labels.csv", [("patient", column), (1, 1), (2, 0)])
        plans.append(build_from(inputs, tmp_path / column, label_table=table)["plan"])
    assert plans[0] != plans[1]


def test_verify_names_a_label_that_is_no_class_or_not_the_patients(inputs, tmp_path):
    rows = [("path", "pain")]
    rows += [(f"{SLICES}/T1_Output/T1_0001_{disc}.png", int(disc == "D4")) for disc in cohort.DISCS]
    build_from(inputs, tmp_path / "set", label_table=write(tmp_path / "labels.csv", rows))
    manifest = json.loads((tmp_path / "set" / "manifest.json").read_text())
    for change, fault in (
        ({"classes": ["no pain"]}, "a label of the task pain that is none of its classes"),
        ({"unit": "patient"}, "another label of the task pain than its patient has elsewhere"),
    ):
        changed = manifest | {"tasks": [manifest["tasks"][0] | change]}
        changed["metadata"] = manifest["metadata"] | {"manifest.json": seal(changed)}
        (tmp_path / "set" / "manifest.json").write_text(json.dumps(changed))
        faults = verify(tmp_path / "set")[0]
        assert faults
        assert all(fault in found for found in faults)


def test_a_split_file_of_others_is_taken_as_it_is(inputs, tmp_path, caplog):
    caplog.set_level("INFO")
    names = ["train", "Valid", "val", "dev", "TEST", "validation"]
    rows = [("patient_id", "split", "lbp"), *((p, names[p % 6], p % 2) for p in range(1, 13))]
    path = write(tmp_path / "split.csv", rows)
    given = splits.read_split_file(path, mendeley.patient_key)
    assert [given[f"{p:04d}"] for p in (6, 1, 2, 3, 4)] == [
        *("train", "validation", "validation", "validation", "test")
    ]
    assert "are not read: --label_table takes them as labels" in caplog.text
    caplog.clear()
    manifest = build_from(inputs, tmp_path / "set", split_file=path, label_table=path)
    assert {split: counts["patients"] for split, counts in manifest["splits"].items()} == {
        "train": 2, "validation": 8, "test": 2
    }  # fmt: skip
    assert [task["name"] for task in manifest["tasks"]] == ["lbp"]
    # The boiler-plate of patients 4, 8 and 12 is in all three.
    assert manifest["report_groups_apart"] == 1
    assert "1 different reports are in several splits, as --split_file has" in caplog.text
    assert "are not read" not in caplog.text


def test_drawn_splits_share_no_report(inputs, tmp_path):
    assert "report_groups_apart" not in build_from(inputs, tmp_path / "set")
