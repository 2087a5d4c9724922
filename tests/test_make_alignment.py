"""The alignment benchmark as a file, and what is drawn for an image."""

import json
import pathlib
import subprocess
import sys

import pytest

from data_prep import make_alignment
from data_prep.records import manifest as manifests
from data_prep.variants import alignment
from lumbarclip_jax.data.dataset import Dataset

TWO_DISCS = "L3-L4: Disc bulge.\nL5-S1: Disc protrusion to the left.\nMuscle spasm."


@pytest.fixture(scope="module")
def found(tiny_dataset):
    return make_alignment.benchmark(tiny_dataset, "test")


def test_the_command_writes_the_same_bytes_for_its_owner_alone(tiny_dataset, found, tmp_path):
    out = tmp_path / "alignment.json"
    command = [sys.executable, "-m", "data_prep.make_alignment", f"--data_dir={tiny_dataset}"]
    done = subprocess.run([*command, f"--out={out}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    # Made here by another process, with another order of sets.
    again = tmp_path / "again.json"
    make_alignment.write(found, again)
    assert out.read_bytes() == again.read_bytes()
    assert out.stat().st_mode & 0o077 == 0
    assert json.loads(out.read_text()) == found
    assert "side: 3 of 9 images (nothing of the kind is said: 6)" in done.stdout
    assert "it holds report texts" in done.stdout
    assert "thecal" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"alignment.json", "again.json"}


def test_the_head_says_of_what_it_is(tiny_dataset, found):
    manifest = json.loads((tiny_dataset / manifests.FILE).read_text())
    assert found["data_set"] == {"name": "dataset", "content": manifests.content(manifest)}
    assert (found["split"], found["seed"]) == ("test", alignment.SEED)
    assert all(len(digest) == 64 for digest in found["sha256"].values())
    assert "texts of radiology reports" in found["notice"]
    counts = found["counts"]
    assert counts["images"] == len(found["items"]) == 9
    for kind, number in counts["with"].items():
        assert number + sum(counts["without"][kind].values()) == 9


def test_it_has_what_an_evaluator_finds_in_the_same_split(tiny_dataset, found):
    columns = Dataset(tiny_dataset).columns("test")
    assert [entry["image_id"] for entry in found["items"]] == columns.image_id.tolist()
    items = alignment.items(columns.report.tolist(), columns.level.tolist())
    for entry, item in zip(found["items"], items, strict=True):
        texts = {kind: of["text"] for kind, of in entry["variants"].items()}
        assert texts == {kind: of.text for kind, of in item.variants.items()}
        assert entry["finding"] == item.finding


def test_a_split_that_is_not_there_is_refused(tiny_dataset):
    with pytest.raises(ValueError, match=r"--split is 'dev': .* has train, validation, test"):
        make_alignment.benchmark(tiny_dataset, "dev")
    with pytest.raises(FileNotFoundError):
        make_alignment.benchmark(pathlib.Path("nowhere"), "test")


@pytest.mark.parametrize(
    ("image_level", "finding", "level"),
    [
        ("L3-L4", "disc_bulge", "L3-L4"),
        ("L5-S1", "disc_protrusion", "L5-S1"),
        ("L4-L5", "muscle_spasm", ""),  # no disc is named, of others nothing is shown
    ],
)
def test_the_finding_is_one_of_the_disc_that_an_image_shows(image_level, finding, level):
    (item,) = alignment.items([TWO_DISCS], [image_level])
    assert (item.finding, item.level) == (finding, level)
    assert item.is_ordered
    denied, left_out = item.variants["negated"], item.variants["omitted"]
    assert (denied.finding, denied.level) == (left_out.finding, left_out.level) == (finding, level)


def test_a_whole_spine_shows_every_disc():
    (item,) = alignment.items([TWO_DISCS], ["all"])
    assert item.finding in ("disc_bulge", "disc_protrusion", "muscle_spasm")
    assert item.variants.keys() == {"negated", "omitted", "level", "side"}
    assert item.variants["side"].finding == "disc_protrusion"  # no other has a side


def test_what_is_left_out_at_two_discs_is_in_no_order_with_its_denial_at_one():
    report = "L3-L4: Disc bulge.\nL5-S1: Disc bulge."
    (item,) = alignment.items([report], ["L3-L4"])
    assert item.variants["negated"].level == "L3-L4"
    assert item.variants.keys() >= {"negated"}
    assert not item.is_ordered
    assert item.missing["ordered"]


def test_a_report_of_nothing_has_no_variant():
    (item,) = alignment.items(["Report to follow."], ["L4-L5"])
    assert (item.finding, item.variants) == ("", {})
    counted = alignment.counts([item])
    assert counted["with"] == dict.fromkeys(("negated", "omitted", "level", "side", "ordered"), 0)
    assert counted["without"]["side"] == {alignment.NOTHING_SAID: 1}
