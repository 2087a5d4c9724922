"""A data set folder that is not the one that was built is refused when it is opened."""

import json
import os
import pathlib
import shutil

import pytest

from lumbarclip_jax.data.dataset import Dataset

AGAIN = "copy the data set again, all of it"


@pytest.fixture
def folder(tiny_dataset, tmp_path) -> pathlib.Path:
    return pathlib.Path(shutil.copytree(tiny_dataset, tmp_path / "set"))


def shard(folder: pathlib.Path, split: str) -> pathlib.Path:
    (path,) = folder.glob(f"*-{split}.array_record*")
    return path


def as_first_built(folder: pathlib.Path) -> None:
    """The manifest in the form of the first version, which had no hashes but the shards'."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for later in ("metadata", "key_fingerprint", "look_alikes"):
        manifest.pop(later)
    path.write_text(json.dumps(manifest))


def test_a_missing_shard_is_named(folder):
    path = shard(folder, "validation")
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{path} is missing: {AGAIN}"):
        Dataset(folder)


def test_a_cut_shard_is_named_with_its_sizes(folder):
    path = shard(folder, "train")
    size = path.stat().st_size
    os.truncate(path, size // 2)
    with pytest.raises(ValueError, match=f"{path} has {size // 2} bytes, not {size}: {AGAIN}"):
        Dataset(folder)


def test_swapped_shards_are_found_by_what_they_hold(folder):
    one, two = shard(folder, "validation"), shard(folder, "test")
    assert one.stat().st_size == two.stat().st_size
    both = one.read_bytes(), two.read_bytes()
    two.write_bytes(both[0])
    one.write_bytes(both[1])
    Dataset(folder)  # their sizes say nothing
    with pytest.raises(ValueError, match=f"{one} holds what belongs into {two.name}: {AGAIN}"):
        Dataset(folder, check_shards=True)


@pytest.mark.parametrize("resplit", ["", "fold_1_of_3"])
def test_a_changed_byte_is_found_before_anything_is_read(folder, resplit):
    path = shard(folder, "test")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"{path} is damaged: {AGAIN}"):
        Dataset(folder, resplit, check_shards=True)


def test_a_shard_of_another_set_beside_them_is_named(folder):
    extra = folder / "lumbar_mri-train.array_record-00001-of-00002"
    shutil.copyfile(shard(folder, "train"), extra)
    with pytest.raises(ValueError, match=f"{extra} is a shard that manifest.json does not name"):
        Dataset(folder)
    extra.rename(folder / "._lumbar_mri-train.array_record-00001-of-00002")  # litter of a Mac
    Dataset(folder)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json", "vocab.txt"])
def test_edited_files_are_named(folder, name):
    (folder / name).write_text((folder / name).read_text() + " ")
    with pytest.raises(ValueError, match=f"{name} is not the file that manifest.json names"):
        Dataset(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda text: text[: len(text) // 2], "is cut or damaged"),
        (lambda text: "", "is cut or damaged"),
        (lambda text: "[]", "is cut or damaged"),
        (lambda text: text.replace('"metadata"', '"metadatb"'), "is cut or damaged"),
        (lambda text: text.replace('"seed": 0', '"seed": 1'), "was changed after"),
        (lambda text: text.replace("disc_bulge", "disc_bulgf"), "was changed after"),
        (lambda text: text.replace('"manifest.json"', '"manifest.jsom"'), "jsom is missing"),
    ],
)
def test_a_damaged_manifest_is_named(folder, change, told):
    path = folder / "manifest.json"
    text = change(path.read_text())
    assert text != path.read_text()
    path.write_text(text)
    with pytest.raises((ValueError, FileNotFoundError), match=f"{told}.*: {AGAIN}"):
        Dataset(folder)


def test_shards_without_their_manifest_are_half_a_copy(folder):
    (folder / "manifest.json").unlink()
    with pytest.raises(FileNotFoundError, match=f"manifest.json is missing: {AGAIN}"):
        Dataset(folder)


def test_the_first_manifests_are_held_against_what_they_have(folder):
    splits = json.loads((folder / "manifest.json").read_text())["splits"]
    as_first_built(folder)
    assert Dataset(folder, check_shards=True).splits == tuple(splits)
    info = json.loads((folder / "dataset_info.json").read_text())
    info["splits"][0]["shardLengths"] = ["1"]
    (folder / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(ValueError, match="describes other shards than"):
        Dataset(folder)


def test_a_first_manifest_that_lacks_a_count_is_named(folder):
    as_first_built(folder)
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"images"', '"imagfs"'))
    with pytest.raises(ValueError, match=f"{path} is cut or damaged: {AGAIN}"):
        Dataset(folder)
