"""`data_prep.verify`: a sound data set passes; every damage and every leak is named."""

import hashlib
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from data_prep.build import build
from data_prep.records import example
from data_prep.records.manifest import seal
from data_prep.verify import verify
from tests import data_prep_cohort as cohort

# LUMBARCLIP_DAMAGES=1000 pytest tests/test_verify.py is the long form.
DAMAGES = int(os.environ.get("LUMBARCLIP_DAMAGES", "150"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> pathlib.Path:
    """24 patients, 72 slices, three splits, ten shards or so."""
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root, 24, 32, sequences=("T1",))
    cohort.write_reports(root / "reports.csv", 24)
    out = root / "set"
    shares = "train=0.6,validation=0.2,test=0.2"
    build(root, root / "reports.csv", out, split_shares=shares, size_px=32, shard_records=9)
    return out


@pytest.fixture
def copied(sound, tmp_path):
    return pathlib.Path(shutil.copytree(sound, tmp_path / "set"))


def shards(folder) -> list[pathlib.Path]:
    return sorted(folder.glob("*.array_record*"))


def damage(folder: pathlib.Path, rng: random.Random) -> set[str]:
    """Damages one shard, or two by swapping them; returns their names."""
    path = rng.choice(shards(folder))
    content = bytearray(path.read_bytes())
    kind = rng.choice(["flip", "truncate", "delete", "swap", "append", "zero"])
    if kind == "flip":
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    elif kind == "truncate":
        del content[rng.randrange(len(content)) :]
    elif kind == "append":
        content += rng.randbytes(rng.randrange(1, 5000))
    elif kind == "zero":
        start = rng.randrange(len(content))
        end = min(len(content), start + 4096)
        if not any(content[start:end]):
            start, end = 0, 4096
        content[start:end] = bytes(end - start)
    elif kind == "swap":
        other = rng.choice([shard for shard in shards(folder) if shard != path])
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return {path.name, other.name}
    path.unlink()
    if kind != "delete":
        path.write_bytes(content)
    return {path.name}


def rewrite(folder: pathlib.Path, shard: pathlib.Path, change) -> None:
    """Writes a shard anew with `change(number, record)` applied, and the manifest to suit it."""
    features = example.features(32)
    with ArrayRecordDataSource([str(shard)]) as source:
        records = [features.deserialize_example_np(source[i]) for i in range(len(source))]
    writer = ArrayRecordWriter(str(shard), "group_size:1,uncompressed")
    for number, record in enumerate(records):
        record = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in record.items()
        }
        for name in ("findings", "level_findings"):
            record[name] = record[name].tolist()
        record["grades"] = {"pfirrmann": int(record["grades"]["pfirrmann"])}
        writer.write(example.serialize(change(number, record) or record))
    writer.close()
    manifest = json.loads((folder / "manifest.json").read_text())
    for entry in manifest["shards"]:
        if entry["name"] == shard.name:
            content = shard.read_bytes()
            entry["bytes"], entry["sha256"] = len(content), hashlib.sha256(content).hexdigest()
    write_manifest(folder, manifest)


def write_manifest(folder: pathlib.Path, manifest: dict) -> None:
    """As a build would have written it."""
    manifest["metadata"]["manifest.json"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def run(folder) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "data_prep.verify", str(folder)],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
    )


def test_a_sound_set_passes(sound):
    result = run(sound)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "72 records" in result.stdout
    assert "no fault" in result.stdout


def test_a_fault_exits_with_1_and_no_folder_with_2(copied, tmp_path):
    gone = shards(copied)[0]
    gone.unlink()
    result = run(copied)
    assert result.returncode == 1
    assert gone.name in result.stdout
    result = run(tmp_path / "nowhere")
    assert result.returncode == 2
    assert "there is no folder" in result.stderr


def test_every_damaged_shard_is_named(sound, tmp_path):
    originals = {shard.name: shard.read_bytes() for shard in shards(sound)}
    folder = pathlib.Path(shutil.copytree(sound, tmp_path / "set"))
    for seed in range(DAMAGES):
        damaged = damage(folder, random.Random(seed))
        faults, _ = verify(folder)
        named = {fault.split(":")[0].split(" record")[0] for fault in faults}
        assert damaged <= named, (seed, damaged, faults)
        assert not named & (originals.keys() - damaged), (seed, damaged, faults)
        for name in damaged:
            (folder / name).write_bytes(originals[name])
    assert verify(folder)[0] == []


def test_a_flip_in_a_record_names_its_number(copied):
    shard = shards(copied)[0]
    with ArrayRecordDataSource([str(shard)]) as source:
        payload = source[2]
    content = bytearray(shard.read_bytes())
    content[content.index(payload) + len(payload) // 2] ^= 1
    shard.write_bytes(content)
    faults, _ = verify(copied)
    assert [fault for fault in faults if f"{shard.name} record 2: cannot be read" in fault]


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "vocab.txt"])
def test_other_files_are_checked_too(copied, name):
    text = (copied / name).read_text()
    (copied / name).write_text(text[: len(text) // 2])
    assert any(name in fault for fault in verify(copied)[0])


def test_a_stray_file_is_a_fault(copied):
    (copied / "4711.dcm").write_text("")
    assert verify(copied)[0] == ["a file that the manifest does not name is in the folder"]


def test_counts_are_counted_again(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    manifest["splits"]["test"]["patients"] += 1
    manifest["dropped_by_reason"] = {"burned_in": 1}
    write_manifest(copied, manifest)
    faults, _ = verify(copied)
    assert len(faults) == 2
    assert faults[0].startswith("test: ")
    assert "patients, not" in faults[0]


def test_views_are_counted_again(copied):
    manifest = json.loads((copied / "manifest.json").read_text())
    assert sum(manifest["views"]["axial"].values()) == sum(
        split["images"] for split in manifest["splits"].values()
    )
    views = manifest.pop("views")
    write_manifest(copied, manifest)  # as earlier versions wrote it
    assert verify(copied)[0] == []
    views["axial"]["T1"] += 1
    write_manifest(copied, manifest | {"views": views})
    sentence = "manifest.json: views does not count the planes and sequences of the records"
    assert verify(copied)[0] == [sentence]


def test_an_edited_manifest_is_a_fault(copied):
    text = (copied / "manifest.json").read_text()
    (copied / "manifest.json").write_text(text.replace('"seed": 0', '"seed": 1'))
    assert verify(copied)[0] == ["manifest.json: changed since the data set was built"]


def leak(folder, traits) -> list[str]:
    """Gives record 0 of a test shard what record 1 of a train shard has; returns the faults."""
    train = next(shard for shard in shards(folder) if "-train" in shard.name)
    test = next(shard for shard in shards(folder) if "-test" in shard.name)
    features = example.features(32)
    with ArrayRecordDataSource([str(train)]) as source:
        donor = features.deserialize_example_np(source[1])
    donor = {n: v.decode() if isinstance(v, bytes) else v for n, v in donor.items()}
    taken = traits(donor)
    rewrite(folder, test, lambda number, record: (number == 0 and record | taken) or record)
    faults = [fault for fault in verify(folder)[0] if " (" in fault and "same" in fault]
    faults += [fault for fault in verify(folder)[0] if "looks like" in fault]
    assert all(f"{test.name} record 0" in fault for fault in faults)
    assert all(f"{train.name} record" in fault and "(train)" in fault for fault in faults)
    return faults


@pytest.mark.parametrize("name", ["study_id", "series_id"])
def test_a_shared_id_is_a_leak(copied, name):
    (fault,) = leak(copied, lambda donor: {name: donor[name]})
    assert f"same {name[:-3]} as" in fault


def test_shared_pixels_are_a_leak(copied):
    faults = leak(copied, lambda donor: {"image": donor["image"]})
    assert len(faults) == 2
    assert "same pixels as" in faults[0]
    assert "looks like" in faults[1]


def test_brighter_pixels_are_a_leak(copied):
    def brighter(donor):
        return {"image": (donor["image"].astype(np.float32) * 0.8 + 20).astype(np.uint8)}

    (fault,) = leak(copied, brighter)
    assert "looks like" in fault


def test_a_shared_report_and_patient_are_leaks(copied):
    train = next(shard for shard in shards(copied) if "-train" in shard.name)
    with ArrayRecordDataSource([str(train)]) as source:
        donor = example.features(32).deserialize_example_np(source[0])
    test = next(shard for shard in shards(copied) if "-test" in shard.name)
    taken = {n: donor[n].decode() for n in ("report", "report_group", "patient_id")}
    rewrite(copied, test, lambda number, record: record | taken if number == 0 else record)
    faults = verify(copied)[0]
    assert any("same report as" in fault for fault in faults)
    assert any("same patient as" in fault for fault in faults)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"level": "L9"}, "unknown level"),
        ({"patient_id": "Meier"}, "patient_id is no pseudonym"),
        ({"report": " "}, "its report is empty or not of its report_group"),
        ({"findings": [4] * 17}, "findings holds an unknown status"),
        ({"grades": {"pfirrmann": 6}}, "a Pfirrmann grade above 5"),
        ({"image": np.zeros((31, 32, 1), np.uint8)}, "cannot be read"),
    ],
)
def test_contents_of_records_are_checked(copied, change, sentence):
    shard = shards(copied)[0]
    rewrite(copied, shard, lambda number, record: record | change if number == 1 else record)
    assert any(f"{shard.name} record 1: {sentence}" in fault for fault in verify(copied)[0])
