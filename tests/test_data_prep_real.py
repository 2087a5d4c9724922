"""The published cohort, where it lies beside the repository: counts and leaks."""

import json

import pytest
import tensorflow_datasets as tfds

from data_prep.build import build


@pytest.fixture(scope="module")
def cohort_set(real_data, tmp_path_factory):
    out = tmp_path_factory.mktemp("real") / "set"
    manifest = build(
        real_data,
        real_data / "Radiologists Report.xlsx",
        out,
        grades_file=real_data / "PfirrmannGrade.csv",
        findings_file=real_data / "report_findings.jsonl",
    )
    return out, manifest


def test_every_published_slice_is_a_record(cohort_set):
    folder, manifest = cohort_set
    splits = manifest["splits"]
    assert sum(counts["images"] for counts in splits.values()) == 1236
    assert {split: counts["patients"] for split, counts in splits.items()} == {
        "train": 289,
        "validation": 41,
        "test": 82,
    }
    assert manifest["dropped_by_reason"] == {"report_empty": 60}
    assert manifest["look_alikes"]["pairs"] == 0
    assert json.loads((folder / "manifest.json").read_text()) == json.loads(json.dumps(manifest))


def test_splits_share_no_patient_and_no_report(cohort_set):
    folder, _ = cohort_set
    builder = tfds.builder_from_directory(folder)
    patients, groups, normal_share = [], [], {}
    for split in builder.info.splits:
        found = list(builder.as_data_source(split))
        patients.append({record["patient_id"] for record in found})
        groups.append({record["report_group"] for record in found})
        normal = [1 not in record["findings"][:8] for record in found]
        normal_share[split] = sum(normal) / len(normal)
    assert len(set.union(*patients)) == sum(map(len, patients)) == 412
    assert len(set.union(*groups)) == sum(map(len, groups)) == 372
    assert all(0.15 < share < 0.20 for share in normal_share.values())


def test_no_rule_takes_a_word_from_the_reports(cohort_set):
    assert cohort_set[1]["removed_from_reports"] == {}


def test_words_of_the_reports_are_tokens(cohort_set):
    tokens = (cohort_set[0] / "vocab.txt").read_text().splitlines()
    assert {"disc", "thecal", "l4", "l5", "s1", "##s"} <= set(tokens)
    assert 500 < len(tokens) < 1500


def test_the_authors_split_and_label_are_taken_as_they_are(real_data, tmp_path):
    table = real_data / "authors_split.csv"
    manifest = build(
        real_data,
        real_data / "Radiologists Report.xlsx",
        tmp_path / "set",
        grades_file=real_data / "PfirrmannGrade.csv",
        split_file=table,
        label_table=table,
        size_px=32,
    )
    counts = {split: counts["patients"] for split, counts in manifest["splits"].items()}
    assert counts == {"train": 284, "validation": 66, "test": 62}
    (task,) = manifest["tasks"]
    assert (task["name"], task["unit"], task["classes"]) == ("lbp", "patient", ["no lbp", "lbp"])
    assert manifest["report_groups_apart"] == 11
