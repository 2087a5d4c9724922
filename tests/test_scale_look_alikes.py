"""Pictures that look the same: found whatever was done to them, and kept in one split."""

import io

import numpy as np
import PIL.Image
import PIL.ImageFilter
import pytest
import tensorflow_datasets as tfds

from data_prep.build import build, splits
from data_prep.images.fingerprints import BYTES, MAX_DIFFERENT_BITS, fingerprint, near_duplicates
from tests import data_prep_cohort as cohort

SIZE_PX = 64
LIMIT = MAX_DIFFERENT_BITS["axial"]


def picture(seed: int, size_px: int = 320) -> np.ndarray:
    """Smooth random shapes, uint8 [S, S]."""
    noise = np.random.default_rng(seed).integers(40, 190, (48, 48), np.uint8)
    image = PIL.Image.fromarray(noise).resize((size_px, size_px), PIL.Image.Resampling.BICUBIC)
    return np.asarray(image)


def compressed(image: np.ndarray) -> np.ndarray:
    file = io.BytesIO()
    PIL.Image.fromarray(image).save(file, "JPEG", quality=60)
    return np.asarray(PIL.Image.open(file))


CHANGES = {
    "compressed": compressed,
    "brighter": lambda image: np.clip(image * 1.15 + 10, 0, 255).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.8).astype(np.uint8),
    "shifted": lambda image: np.roll(image, 1, axis=1),
    "noisy": lambda image: np.clip(
        image + np.random.default_rng(0).normal(0, 5, image.shape), 0, 255
    ).astype(np.uint8),
}


def different_bits(one: np.ndarray, two: np.ndarray) -> int:
    prints = [np.frombuffer(fingerprint(image[..., None]), np.uint8) for image in (one, two)]
    return int(np.bitwise_count(prints[0] ^ prints[1]).sum())


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_looks_the_same(change):
    for seed in range(5):
        image = picture(seed)
        assert different_bits(image, CHANGES[change](image)) <= LIMIT


def test_another_picture_does_not():
    distances = [different_bits(picture(a), picture(b)) for a in range(8) for b in range(a)]
    assert min(distances) > 1.5 * LIMIT


@pytest.mark.parametrize("size_px", [1, 8, 33])
def test_a_picture_of_nothing_has_no_fingerprint(size_px):
    image = np.zeros((size_px, size_px, 1), np.uint8)
    assert fingerprint(image) is None
    image[0, 0] = 255
    assert fingerprint(image) is None


def test_near_duplicates_are_those_that_were_planted():
    rng = np.random.default_rng(0)
    prints = rng.integers(0, 256, (2500, BYTES), np.uint8)
    owners = [f"p{i % 700}" for i in range(2500)]
    planes = ["sagittal" if i >= 2000 else "axial" for i in range(2500)]
    planted = [
        # (row, other row, bits in which they differ, whether that is a pair)
        (3, 9, 0, True),
        (5, 1900, LIMIT, True),
        (1023, 1024, 7, True),  # of two blocks
        (40, 50, LIMIT + 1, False),
        (2, 702, 0, False),  # of one owner
        (7, 2007, 0, False),  # of two planes
        (2100, 2101, MAX_DIFFERENT_BITS["sagittal"], True),
        (2102, 2103, MAX_DIFFERENT_BITS["sagittal"] + 1, False),
    ]
    for i, j, bits, _ in planted:
        prints[j] = prints[i]
        prints[j, : bits // 8] ^= 255
        prints[j, bits // 8] ^= 2 ** (bits % 8) - 1
    expected = [(i, j) for i, j, _, is_pair in planted if is_pair]
    assert sorted(near_duplicates(prints, owners, planes)) == sorted(expected)
    assert list(near_duplicates(prints[:0], [], [])) == []


def test_connected_names():
    found = splits.connected([("b", "a"), ("c", "d"), ("d", "b"), ("x", "y"), ("z", "z")])
    assert found == {"a": "a", "b": "a", "c": "a", "d": "a", "x": "x", "y": "x", "z": "z"}


def test_groups_move_to_the_split_with_most_of_them():
    split_of = {"a": "train", "b": "test", "c": "test", "d": "train", "e": "test", "f": "train"}
    groups = {"a": 1, "b": 1, "c": 1, "d": 2, "e": 2, "f": 3}
    assert splits.keep_together(split_of, groups, ["train", "test"]) == {
        "a": "test",
        "b": "test",
        "c": "test",
        "d": "train",
        "e": "train",
        "f": "train",
    }
    with pytest.raises(ValueError, match="every patient of the split 'test' has images like"):
        splits.keep_together({"d": "train", "e": "test"}, groups, ["train", "test"])


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """24 patients of smooth pictures; patient 2's are those of patient 1, brighter; 6's are 5's."""
    root = tmp_path_factory.mktemp("cohort")
    cohort.write_slices(root, 24, SIZE_PX, sequences=("T1",))
    folder = root / "04_Intermediary_Ground_Truth_Data" / "T1_Output"
    for path in folder.iterdir():
        patient, disc = int(path.name[3:7]), int(path.name[9])
        seed = 10 * {2: 1, 6: 5}.get(patient, patient) + disc
        image = picture(seed, SIZE_PX)
        if patient == 2:
            image = CHANGES["brighter"](image)
        PIL.Image.fromarray(image).save(path)
    cohort.write_reports(root / "reports.csv", 24)
    (root / "key").write_text("ab" * 32)
    return root


def build_from(inputs, out, **options):
    options = {"split_shares": "train=0.5,test=0.5", "shard_records": 6} | options
    options |= {"size_px": SIZE_PX, "key_file": inputs / "key"}
    return build(inputs, inputs / "reports.csv", out, **options)


def split_of_patients(out) -> dict[int, str]:
    lines = out.with_name(out.name + ".splits.csv").read_text().splitlines()[1:]
    return {int(line.split(",")[0]): line.split(",")[1] for line in lines}


def test_look_alikes_share_a_split_and_few_shards_are_made_again(inputs, tmp_path):
    for seed in range(4):
        out = tmp_path / str(seed)
        manifest = build_from(inputs, out, seed=seed)
        split_of = split_of_patients(out)
        assert len(split_of) == 24
        assert split_of[1] == split_of[2]
        assert split_of[5] == split_of[6]
        # Equal files are known before any is decoded; brighter ones are found afterwards.
        assert manifest["look_alikes"] == {"patients": 4, "pairs": 2, "pairs_apart": 0}
        groups = {}
        for split in ("train", "test"):
            for record in tfds.builder_from_directory(out).as_data_source(split):
                groups.setdefault(record["report_group"], set()).add(split)
        assert all(len(names) == 1 for names in groups.values())


def test_splits_that_are_given_are_kept(inputs, tmp_path):
    build_from(inputs, tmp_path / "drawn")
    given = tmp_path / "drawn.splits.csv"
    build_from(inputs, tmp_path / "same", split_file=given, seed=7)
    drawn, same = split_of_patients(tmp_path / "drawn"), split_of_patients(tmp_path / "same")
    assert drawn == same
    table = "Patient,Split\n1,test\n2,train\n3,validation\n77,train\n"
    (tmp_path / "splits.csv").write_text(table)
    manifest = build_from(inputs, tmp_path / "set", split_file=tmp_path / "splits.csv")
    assert split_of_patients(tmp_path / "set") == {1: "test", 2: "train", 3: "validation"}
    assert list(manifest["splits"]) == ["train", "validation", "test"]
    assert manifest["look_alikes"] == {"patients": 2, "pairs": 1, "pairs_apart": 1}
    assert manifest["dropped_by_reason"] == {"not_in_split_file": 63, "split_without_image": 1}
    assert manifest["splits_source"] == "given with --split_file"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patient,split\n1,train\n1,test\n", "row 3 has no patient id, a second split"),
        ("patient,split\n1,training\n", "row 2 has no patient id"),
        ("patient,part\n1,train\n", "has no column 'split'"),
        ("patient,split\n99,train\n", "names no patient with an image and a report"),
    ],
)
def test_a_wrong_split_file_is_one_sentence(inputs, tmp_path, text, sentence):
    (tmp_path / "splits.csv").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        build_from(inputs, tmp_path / "set", split_file=tmp_path / "splits.csv")
