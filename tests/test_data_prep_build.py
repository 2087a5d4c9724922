"""The whole build: pairing, the record, the same bytes again, no identity in any of them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from data_prep.build import build
from data_prep.label_reports import labelling
from data_prep.verify import verify
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.manifest import sha256
from tests import data_prep_cohort as cohort

PATIENTS = 12
SIZE_PX = 16


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Both forms of the images in folders of their own, reports and labels; a fixed key."""
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root / "png", PATIENTS, SIZE_PX)
    cohort.write_studies(root / "raw", 6, SIZE_PX)
    extra = [(90, "a report of nobody"), (91, ""), (92, "nan"), ("x", "whose?")]
    extra += [(93, "one report"), (93, "another report"), (93, "One report.")]
    cohort.write_reports(root / "reports.xlsx", PATIENTS, extra)
    cohort.write_labels(root / "grades.csv", root / "findings.jsonl", PATIENTS)
    (root / "key").write_text("ab" * 32)
    return root


def build_from(inputs, out, *, images="png", **options):
    options = {"key_file": inputs / "key", "size_px": SIZE_PX, "shard_records": 12} | options
    return build(inputs / images, inputs / "reports.xlsx", out, **options)


@pytest.fixture(scope="module")
def built(inputs, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "set"
    manifest = build_from(
        inputs,
        out,
        grades_file=inputs / "grades.csv",
        findings_file=inputs / "findings.jsonl",
        split_shares="train=0.5,validation=0.25,test=0.25",
    )
    return out, manifest


def records(folder) -> list[dict]:
    builder = tfds.builder_from_directory(folder)
    return [record for split in builder.info.splits for record in builder.as_data_source(split)]


def content(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_image_of_a_reported_patient_is_a_record(built):
    folder, manifest = built
    found = records(folder)
    assert len(found) == PATIENTS * 6
    assert len({record["image_id"] for record in found}) == PATIENTS * 6
    assert len({record["patient_id"] for record in found}) == PATIENTS
    assert {record["sequence"] for record in found} == {b"T1", b"T2"}
    assert sum(counts["images"] for counts in manifest["splits"].values()) == PATIENTS * 6
    assert sum(shard["records"] for shard in manifest["shards"]) == PATIENTS * 6


def test_a_record_joins_its_image_report_and_labels(built, inputs):
    record = next(
        record
        for record in records(built[0])
        if b"number 5," in record["report"]
        and (record["level"], record["sequence"]) == (b"L5-S1", b"T1")
    )
    slices = inputs / "png" / "04_Intermediary_Ground_Truth_Data"
    with PIL.Image.open(slices / "T1_Output" / "T1_0005_D5.png") as image:
        np.testing.assert_array_equal(record["image"][..., 0], np.asarray(image))
    assert record["report"].decode() == cohort.report_text(5)
    assert record["plane"] == b"axial"
    assert record["grades"]["pfirrmann"] == 1
    # Names 1, 2 and 4 of the schema: protrusion and thecal sac present, extrusion denied.
    assert record["findings"].tolist() == [0, 1, 2, 0, 1] + [0] * 12
    assert record["level_findings"].tolist() == [0, 1, 2, 0, 1, 0, 0, 0]


def test_the_manifest_says_how_many_patients_are_labelled(built, inputs, tmp_path):
    assert built[1]["findings_source"] == "given with --findings for 12 of 12 patients"
    half = "".join((inputs / "findings.jsonl").read_text().splitlines(keepends=True)[:6])
    (tmp_path / "half.jsonl").write_text(half)
    manifest = build_from(inputs, tmp_path / "set", findings_file=tmp_path / "half.jsonl")
    assert manifest["findings_source"] == "given with --findings for 6 of 12 patients"
    assert manifest["grades_source"] == "none"


def test_findings_are_read_from_the_reports_unless_that_is_switched_off(inputs, tmp_path):
    manifest = build_from(inputs, tmp_path / "read")
    assert manifest["findings_source"] == "read from the reports for 12 of 12 patients"
    cohort.write_reports(tmp_path / "reports.csv", PATIENTS)
    labelling.run(tmp_path / "reports.csv", out_file=tmp_path / "own.jsonl")
    build_from(inputs, tmp_path / "given", findings_file=tmp_path / "own.jsonl")
    read, given = (records(tmp_path / name) for name in ("read", "given"))
    for name in ("findings", "level_findings"):
        labels = [record[name].tolist() for record in read]
        assert labels == [record[name].tolist() for record in given]
        assert np.any(labels)
    manifest = build_from(inputs, tmp_path / "without", label_reports=False)
    assert manifest["findings_source"] == "none"
    assert not np.any([record["findings"] for record in records(tmp_path / "without")])


def test_planes_and_sequences_are_counted(built):
    folder, manifest = built
    views = [(record["plane"], record["sequence"]) for record in records(folder)]
    counts = {name: views.count((b"axial", name.encode())) for name in ("T1", "T2")}
    assert manifest["views"] == {"axial": counts}
    assert sum(manifest["views"]["axial"].values()) == len(views)


def test_the_level_without_a_grade_has_none(built):
    grades = {
        record["grades"]["pfirrmann"] for record in records(built[0]) if record["level"] == b"L3-L4"
    }
    assert grades == {0}


def test_equal_reports_are_one_group_in_one_split(built):
    folder, _ = built
    builder = tfds.builder_from_directory(folder)
    splits_of_group = {}
    for split in builder.info.splits:
        for record in builder.as_data_source(split):
            splits_of_group.setdefault(record["report_group"], set()).add(split)
    assert len(splits_of_group) == PATIENTS * 3 // 4 + 1
    assert all(len(splits) == 1 for splits in splits_of_group.values())


def test_every_row_left_out_is_counted_and_found(built):
    folder, manifest = built
    assert manifest["dropped_by_reason"] == {
        "report_empty": 2,
        "report_bad_id": 1,
        "report_repeated": 2,
        "report_without_image": 1,
    }
    private = (folder.parent / "set.dropped.csv").read_text().splitlines()
    row = next(line for line in private if "reports row 15" in line)
    assert row.split(",")[1] == "report_empty"
    assert row.split(",")[0] in {drop["item"] for drop in manifest["dropped"]}
    assert "reports row" not in json.dumps(manifest)


def test_the_vocabulary_is_of_the_training_reports_alone(built):
    folder, manifest = built
    tokens = (folder / "vocab.txt").read_text().splitlines()
    assert tokens[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert manifest["vocabulary"]["size"] == len(tokens)


def test_raw_studies_give_the_middle_slice_of_each_disc(inputs, tmp_path):
    manifest = build_from(inputs, tmp_path / "set", images="raw", split_shares="test=1")
    # Three slices a disc, counted from below; twelve patients have reports, six have studies.
    expected = {b"L5-S1": 1, b"L4-L5": 4, b"L3-L4": 7}
    found = records(tmp_path / "set")
    assert len(found) == 36
    for record in found:
        number = expected[record["level"]]
        brightness = {patient * 20 + number for patient in range(1, 7)}
        assert int(record["image"][5, 5, 0]) in brightness
        assert record["image"][0, :2, 0].tolist() == [0, 255]
    assert manifest["vocabulary"] is None
    assert not (tmp_path / "set" / "vocab.txt").exists()
    assert manifest["dropped_by_reason"] == {
        "report_empty": 2,
        "report_bad_id": 1,
        "report_repeated": 2,
        "report_without_image": 7,
        "localizer": 6,
        "derived_or_secondary": 6,
        "not_axial": 6,
    }


def test_two_processes_write_the_bytes_of_one(inputs, tmp_path):
    build_from(inputs, tmp_path / "one", images="raw", workers=1)
    build_from(inputs, tmp_path / "two", images="raw", workers=2)
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert sum("array_record" in name for name in one) > 3
    assert one == two


def test_another_key_gives_other_ids_and_the_same_splits(inputs, tmp_path):
    (tmp_path / "key").write_text("cd" * 32)
    build_from(inputs, tmp_path / "one")
    build_from(inputs, tmp_path / "two", key_file=tmp_path / "key")
    ids, splits = [], []
    for name in ("one", "two"):
        found = records(tmp_path / name)
        ids.append({record["patient_id"] for record in found})
        train = tfds.builder_from_directory(tmp_path / name).as_data_source("train")
        splits.append(sorted({record["report"] for record in train}))
    assert not ids[0] & ids[1]
    assert splits[0] == splits[1]


def test_no_identity_is_in_any_output(inputs, tmp_path):
    build_from(inputs, tmp_path / "set", images="raw")
    study = next((inputs / "raw" / "01_MRI_Data" / "0001").iterdir()).name
    planted = [cohort.CANARY, "19700229", study, "0001/", "1.2.826"]
    written = b"".join(content(tmp_path / "set").values())
    source = b"".join(path.read_bytes() for path in (inputs / "raw").rglob("*.ima"))
    assert cohort.CANARY.encode() in source
    for text in planted:
        assert text.encode() not in written
        assert text.encode("utf-16-le") not in written


def test_a_finished_build_is_left_alone_and_another_refused(inputs, tmp_path):
    out = tmp_path / "set"
    build_from(inputs, out)
    stamp = (out / "manifest.json").stat().st_mtime_ns
    build_from(inputs, out)
    assert (out / "manifest.json").stat().st_mtime_ns == stamp
    with pytest.raises(ValueError, match="holds another data set: add --overwrite"):
        build_from(inputs, out, seed=1)
    assert build_from(inputs, out, seed=1, overwrite=True)["seed"] == 1
    names = ["set", "set.dropped.csv", "set.splits.csv"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_failed_build_leaves_the_list_of_what_it_left_out(inputs, tmp_path):
    bad = tmp_path / "bad" / "04_Intermediary_Ground_Truth_Data" / "T1_Output"
    bad.mkdir(parents=True)
    (bad / "T1_0001_D3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"can be decoded; left out are .* 1 unreadable_image "):
        build_from(inputs, tmp_path / "set", images=tmp_path / "bad", split_shares="test=1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad", "set.dropped.csv"]


def test_damaged_images_are_left_out_with_a_reason(inputs, tmp_path):
    shutil.copytree(inputs / "raw", tmp_path / "raw")
    series = next((tmp_path / "raw" / "01_MRI_Data" / "0003").glob("*/T2_TSE_TRA_384_0003"))
    middle = sorted(series.iterdir())[4]
    middle.write_bytes(middle.read_bytes()[:-200])
    (series / "notes.txt").write_text(cohort.CANARY)
    manifest = build_from(inputs, tmp_path / "set", images=tmp_path / "raw")
    assert manifest["dropped_by_reason"]["unreadable_dicom"] == 2
    assert sum(counts["images"] for counts in manifest["splits"].values()) == 35


def test_no_tensorflow():
    code = (
        "import sys, data_prep.build, tensorflow_datasets as tfds;"
        "assert not {'tensorflow', 'jax', 'lumbarclip_jax'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "tensorflow" not in sys.modules


def test_training_reads_folders_from_before_a_feature_was_added(built, tmp_path):
    folder = tmp_path / "old"
    shutil.copytree(built[0], folder)
    features = json.loads((folder / "features.json").read_text())
    later = ("report_source", "series_id")
    for name in later:
        del features["featuresDict"]["features"][name]
    (folder / "features.json").write_text(json.dumps(features))
    old_manifest = json.loads((folder / "manifest.json").read_text())
    del old_manifest["metadata"]["manifest.json"]  # came later too
    old_manifest["metadata"]["features.json"] = sha256(folder / "features.json")
    for entry in old_manifest["shards"]:
        shard = folder / entry["name"]
        with ArrayRecordDataSource([str(shard)]) as source:
            examples = [tf_example_pb2.Example.FromString(source[i]) for i in range(len(source))]
        writer = ArrayRecordWriter(str(shard), "group_size:1,uncompressed")
        for example in examples:
            for name in later:
                del example.features.feature[name]
            writer.write(example.SerializeToString())
        writer.close()
        entry["bytes"] = shard.stat().st_size
        entry["sha256"] = sha256(shard)
    (folder / "manifest.json").write_text(json.dumps(old_manifest))
    for split in ("train", "validation", "test"):
        old, new = (Dataset(path).columns(split) for path in (folder, built[0]))
        np.testing.assert_array_equal(old.image_id, new.image_id)
        np.testing.assert_array_equal(old.level_findings, new.level_findings)
        assert len(old.report) > 0
    Dataset(folder, check_shards=True)
    assert any("features" in fault for fault in verify(folder)[0])
