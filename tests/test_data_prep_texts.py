"""Further texts of a record: whose they are, what is taken out, how they read back."""

import csv
import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from data_prep import audit
from data_prep.build import build
from data_prep.records.manifest import seal
from data_prep.verify import verify
from lumbarclip_jax.data.dataset import Dataset
from tests import data_prep_cohort as cohort

PATIENTS = 12
PLACE = "04_Intermediary_Ground_Truth_Data/T1_Output/T1_{:04d}_D4.png"


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root, PATIENTS, 16, sequences=("T1",))
    cohort.write_reports(root / "reports.csv", PATIENTS)
    labels = [("patient", "pain", "worst"), *((p, p % 2, p % 3 + 1) for p in range(1, 13))]
    write(root / "labels.csv", labels)
    (root / "key").write_text("ab" * 32)
    return root


def build_from(inputs, out, rows, *, images="", **options):
    table = write(out.with_suffix(".texts.csv"), rows)
    shares = "train=0.5,validation=0.25,test=0.25"
    options = {"split_shares": shares, "key_file": inputs / "key", "size_px": 16} | options
    return build(inputs / images, inputs / "reports.csv", out, texts_file=table, **options)


def records(folder):
    builder = tfds.builder_from_directory(folder)
    return [record for split in builder.info.splits for record in builder.as_data_source(split)]


def of_patient(folder, number):
    return [r for r in records(folder) if f"number {number},".encode() in r["report"]]


ROWS = [
    ("patient", "kind", "text", "Pain", "worst"),
    (1, "paraphrase", "The disc bulges.", 1, 2),
    (1, "Free Words", "Die Bandscheibe\nwölbt sich vor.", "-1", ""),
    (1, "", "Protruding disc, no. 3", "", "3"),
    (2, "paraphrase", "The disc BULGES", 0, ""),
    (2, "paraphrase", cohort.report_text(2).upper(), "", ""),  # its report
    (1, "section", "the disc bulges", 1, 2),  # repeated
    (3, "section", " ", "", ""),
    (77, "section", "Whose?", "", ""),
    ("x", "section", "Whose?", "", ""),
]


@pytest.fixture(scope="module")
def built(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "set"
    return out, build_from(inputs, out, ROWS, label_table=inputs / "labels.csv")


def test_records_hold_the_texts_of_their_patient_with_kinds_and_labels(built):
    found = of_patient(built[0], 1)
    assert len(found) == 3
    for record in found:
        assert [text.decode() for text in record["texts"]] == [row[2] for row in ROWS[1:4]]
        assert record["text_kinds"] == [b"paraphrase", b"free_words", b"text"]
        assert record["text_labels"].dtype == np.int8
        assert record["text_labels"].tolist() == [[1, 1], [-2, -1], [-1, 2]]
        assert record["labels"].tolist() == [1, 1]
    for record in of_patient(built[0], 3):
        assert (record["texts"], record["text_kinds"]) == ([], [])
        assert record["text_labels"].shape == (0, 2)


def test_what_is_left_out_is_counted_and_kinds_are(built):
    folder, manifest = built
    assert manifest["texts"] == {"kinds": {"free_words": 1, "paraphrase": 2, "text": 1}}
    assert manifest["dropped_by_reason"] == {
        "report_empty": 1,
        "texts_without_image": 2,
        "text_repeated": 2,
    }
    assert verify(folder)[0] == []
    assert "2 of the kind paraphrase" in audit.write_audit(folder).read_text()


def test_training_reads_them_alone(built):
    dataset = Dataset(built[0])
    names = ("texts", "text_kinds", "text_labels")
    for split in dataset.splits:
        whole, part = dataset.source(split), dataset.partial_source(split, names)
        for index, record in enumerate(part.__getitems__(range(len(part)))):
            assert record["texts"] == whole[index]["texts"]
            assert record["text_kinds"] == whole[index]["text_kinds"]
            np.testing.assert_array_equal(record["text_labels"], whole[index]["text_labels"])


def test_the_group_of_a_record_is_that_of_its_report(built, inputs, tmp_path):
    without = build(
        inputs,
        inputs / "reports.csv",
        tmp_path / "set",
        split_shares="train=0.5,validation=0.25,test=0.25",
        key_file=inputs / "key",
        size_px=16,
    )
    assert "texts" not in without
    assert [(r["image_id"], r["report_group"]) for r in records(tmp_path / "set")] == [
        (r["image_id"], r["report_group"]) for r in records(built[0])
    ]
    assert all("texts" not in record for record in records(tmp_path / "set"))


def test_texts_of_an_image_are_its_own_and_need_no_tasks(inputs, tmp_path):
    rows = [("path", "text"), (PLACE.format(1), "At L4-L5."), (PLACE.format(99), "Of none.")]
    manifest = build_from(inputs, tmp_path / "set", rows)
    assert manifest["dropped_by_reason"] == {"texts_without_image": 1}
    for record in of_patient(tmp_path / "set", 1):
        expected = [b"At L4-L5."] if record["level"] == b"L4-L5" else []
        assert record["texts"] == expected
        assert "text_labels" not in record
    assert verify(tmp_path / "set")[0] == []


def test_the_vocabulary_is_learnt_from_the_texts_of_training_patients_alone(inputs, tmp_path):
    words = {p: f"quux{chr(96 + p)}" for p in range(1, 13)}
    rows = [("patient", "text"), *((p, " ".join(["so", word] * 3)) for p, word in words.items())]
    build_from(inputs, tmp_path / "set", rows)
    tokens = set((tmp_path / "set" / "vocab.txt").read_text().split())
    builder = tfds.builder_from_directory(tmp_path / "set")
    for split in builder.info.splits:
        said = {word for r in builder.as_data_source(split) for word in r["texts"][0].split()}
        assert {word.decode() in tokens for word in said - {b"so"}} == {split == "train"}


def test_identities_are_taken_out_as_from_reports(inputs, tmp_path):
    cohort.write_studies(inputs / "raw", 4, 16)
    # A name of the headers in no context, and a date; patient 4's header says nothing of Zorvane.
    rows = [("patient", "text"), *((p, f"{cohort.CANARY} seen on 1.3.2016") for p in range(1, 4))]
    rows += [(4, "Seen by Dr. Zorvane.")]
    manifest = build_from(inputs, tmp_path / "set", rows, images="raw", split_shares="test=1")
    assert manifest["removed_from_reports"] == {"date": 3, "known": 3, "name": 1}
    assert {text for r in records(tmp_path / "set") for text in r["texts"]} == {
        b"[name] seen on [date]",
        b"Seen by Dr. [name].",
    }
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").iterdir())
    assert cohort.CANARY.encode() not in written
    assert b"Zorvane" not in written


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ([("patient", "words"), (1, "a")], r"has no column 'text'"),
        ([("who", "text"), (1, "a")], r"has no column patient or path that says what a row is of"),
        (
            [("patient", "text", "payn"), (1, "a", 1)],
            r"a column 'payn', unknown or twice.*kind, pain",
        ),
        (
            [("patient", "text", "pain", "PAIN"), (1, "a", 1, 1)],
            r"a column 'PAIN', unknown or twice",
        ),
        ([("patient", "text", "pain"), (1, "a", 2)], r"row 2 has a label of pain that is no class"),
        (
            [("patient", "text", "worst"), (1, "a", 4)],
            r"row 2 has a label of worst that is no class",
        ),
        (
            [("patient", "text", "kind"), (1, "a", "Übung")],
            r"row 2 has a kind of more than letters",
        ),
        ([("patient", "text"), (77, "a")], r"has a text of none of the records: correct its ids"),
    ],
)
def test_bad_tables_are_refused_with_their_place(rows, sentence, inputs, tmp_path):
    with pytest.raises(ValueError, match=sentence):
        build_from(inputs, tmp_path / "set", rows, label_table=inputs / "labels.csv")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"texts": {"kinds": {"text": 9}}}, "texts does not count the further texts"),
        ({"tasks": [{"name": n, "classes": ["a"], "unit": "image"} for n in "ab"]}, "none of the"),
    ],
)
def test_verify_names_what_does_not_fit(change, fault, built, tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    for path in built[0].iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    manifest = json.loads((folder / "manifest.json").read_text()) | change
    manifest["metadata"]["manifest.json"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert any(fault in found for found in verify(folder)[0])


def test_two_processes_write_the_bytes_of_one(inputs, tmp_path):
    for workers in (1, 2):
        options = {"label_table": inputs / "labels.csv", "workers": workers, "shard_records": 9}
        build_from(inputs, tmp_path / f"set{workers}", ROWS, **options)
    one, two = (
        {path.name: path.read_bytes() for path in (tmp_path / f"set{workers}").iterdir()}
        for workers in (1, 2)
    )
    assert one == two
