"""SPIDER: volumes in any order of axes, gradings with their quirks, and a run trained on them."""

import collections
import json

import numpy as np
import pytest

from configs import vit_linear
from data_prep.build import build
from data_prep.images import pixels, volume
from data_prep.images.dicom import Rejected
from data_prep.images.pixels import Rendering
from data_prep.records.drops import Reason
from data_prep.records.scan import Inputs
from data_prep.sources import spider
from data_prep.verify import verify
from lumbarclip_jax import train
from tests import spider_folder as made_up

PRESENT, ABSENT, NOT_MENTIONED = 1, 2, 0


def read(path, index=2):
    return volume.read_slice(path, index)[0]


@pytest.mark.parametrize(
    ("axes", "flips"),
    [("xyz", ""), ("zyx", ""), ("yzx", "z"), ("xyz", "yz"), ("zxy", "xy")],
)
def test_axes_in_any_order_and_direction_show_the_same_slice(axes, flips, tmp_path):
    voxels = made_up.sagittal_voxels()
    made_up.write_volume(tmp_path / "plain.mha", voxels)
    order = ["xyz".index(axis) for axis in axes]
    turned = np.flip(voxels, ["xyz".index(axis) for axis in flips]).transpose(order)
    unit = np.eye(3) * [-1 if axis in flips else 1 for axis in "xyz"]
    spacing_mm = [(4.0, 0.6875, 0.6875)[axis] for axis in order]
    made_up.write_volume(
        tmp_path / "turned.mha", turned, directions=unit[order], spacing_mm=spacing_mm
    )
    assert volume.read_volume(tmp_path / "turned.mha").slices("sagittal") == 5
    np.testing.assert_array_equal(read(tmp_path / "turned.mha"), read(tmp_path / "plain.mha"))


def test_the_head_is_up_and_the_front_is_left(tmp_path):
    voxels = np.zeros((3, 4, 5), np.int16)
    voxels[1, 0, 4] = 7  # foremost and highest: y grows to the back, z to the head
    made_up.write_volume(tmp_path / "a.mha", voxels, spacing_mm=(4, 0.5, 0.6))
    image, spacing_mm = volume.read_slice(tmp_path / "a.mha", 1)
    assert image.shape == (5, 4)
    assert image[0, 0] == 7
    assert spacing_mm == (0.6, 0.5)


@pytest.mark.parametrize("kind", ["int16", "uint8", "float32", "uint16"])
@pytest.mark.parametrize("beside", ["", "a.raw"])
def test_kinds_of_voxels_and_files(kind, beside, tmp_path):
    voxels = (made_up.sagittal_voxels() // 4).astype(kind)
    path = tmp_path / ("a.mhd" if beside else "a.mha")
    for compressed in (True, False):
        made_up.write_volume(path, voxels, compressed=compressed, beside=beside)
        np.testing.assert_array_equal(read(path), voxels[2].T[::-1])


def test_a_slice_is_rendered_like_any_image(tmp_path):
    made_up.write_volume(tmp_path / "a.mha", made_up.sagittal_voxels())
    image = pixels.render(tmp_path / "a.mha", Rendering(16), 2)
    np.testing.assert_array_equal(
        image[..., 0], np.round(read(tmp_path / "a.mha") * (255 / 1000)).astype(np.uint8)
    )


def damaged(path, how):
    data = path.read_bytes()
    change = {
        "cut": lambda: data[:-200],
        "no header": lambda: b"\0" * 400,
        "larger": lambda: data.replace(b"DimSize = 5 16 16", b"DimSize = 9999 999 999"),
        "flat": lambda: data.replace(b"DimSize = 5 16 16", b"DimSize = 5 16"),
        "elsewhere": lambda: data.replace(b"= LOCAL", b"= ../secret.raw"),
        "text": lambda: data.replace(b"BinaryData = True", b"BinaryData = False"),
        "spacing": lambda: data.replace(b"4.0 0.6875", b"4.0 0.0000"),
        "number": lambda: data.replace(b"DimSize = 5", b"DimSize = x"),
        "colour": lambda: b"ElementNumberOfChannels = 3\n" + data,
    }[how]
    path.write_bytes(change())


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("cut", Reason.UNREADABLE_IMAGE),
        ("no header", Reason.UNREADABLE_IMAGE),
        ("larger", Reason.TOO_LARGE),
        ("flat", Reason.UNREADABLE_IMAGE),
        ("elsewhere", Reason.UNSUPPORTED_PIXELS),
        ("text", Reason.UNSUPPORTED_PIXELS),
        ("spacing", Reason.NO_GEOMETRY),
        ("number", Reason.UNREADABLE_IMAGE),
        ("colour", Reason.UNSUPPORTED_PIXELS),
    ],
)
def test_damaged_volumes_are_refused(how, reason, tmp_path):
    made_up.write_volume(tmp_path / "a.mha", made_up.sagittal_voxels())
    damaged(tmp_path / "a.mha", how)
    with pytest.raises(Rejected) as caught:
        read(tmp_path / "a.mha")
    assert caught.value.reason == reason


@pytest.fixture(scope="module")
def quirky(tmp_path_factory):
    """Three patients: one with a row of disc 0 and a grade 'n', one without T2, one ungraded."""
    root = tmp_path_factory.mktemp("spider")
    (root / "images").mkdir()
    # The last is no patient's number: it has too many digits.
    others = ("notes.txt", "1234567890_t1.mha")
    for name in ("1_t1.mha", "1_t2.mha", "1_t2_SPACE.mha", "10_t1.mha", "77_t2.mha", *others):
        made_up.write_volume(root / "images" / name, made_up.sagittal_voxels())
    rows = [
        # Patient, disc, Modic, upper, lower, listhesis, herniation, narrowing, bulging, Pfirrmann
        (1, 0, 0, 0, 0, 0, 0, 0, 0, 2),
        (1, 1, 2, 0, 1, 0, 1, 1, 0, 5),
        (1, 2, 0, 0, 0, 0, 0, 0, 1, 2),
        (1, 6, 0, 0, 0, 0, 0, 0, 0, "n"),
        (10, 1, 0, 0, 0, 1, 0, 0, 0, 3),
    ]
    made_up.write_gradings(root / "radiological_gradings.csv", rows)
    overview = "new_file_name,sex,subset\n1_t1,F ,training\n1_t2 ,F,training\n9_t2,M,validation\n"
    (root / "overview.csv").write_text(overview)
    return root


@pytest.fixture(scope="module")
def scan(quirky):
    return spider.scan(Inputs(quirky))


def test_one_record_a_volume(scan):
    found = sorted((image.patient, image.sequence, image.frame) for image in scan.images)
    assert found[:3] == [("1", "T1", 2), ("1", "T2", 2), ("1", "T2", 2)]
    assert found[3:] == [("10", "T1", 2), ("77", "T2", 2)]
    assert {(image.plane, image.level) for image in scan.images} == {("sagittal", "all")}
    assert len({image.series for image in scan.images}) == 5


def test_what_is_left_out_has_a_reason(scan):
    assert collections.Counter(drop.reason for drop in scan.drops) == {
        Reason.BAD_GRADE: 2,  # disc 0, and the grade 'n'
        Reason.UNKNOWN_FILE: 2,
        Reason.MISSING_IMAGE: 1,
    }


def test_texts_say_what_was_graded_from_the_head_down(scan):
    assert scan.templated
    assert set(scan.reports) == {"1", "10"}
    top, middle, lowest = scan.reports["1"].split("\n")
    # Disc 1 is the lowest: an upside-down reading would put the grade 5 in the chest.
    assert lowest == (
        "L5-S1: Pfirrmann grade 5, disc herniation, disc space narrowing, lower endplate change "
        "and Modic type 2 change. No disc bulge, spondylolisthesis or upper endplate change."
    )
    assert middle.startswith("L4-L5: Pfirrmann grade 2 and disc bulge. No disc herniation,")
    assert top.startswith("T12-L1: No disc bulge, disc herniation,")


def test_labels_are_the_grades(scan):
    findings = scan.findings["1"]
    names = dict(zip(spider.FINDINGS, findings.patient, strict=True))
    assert names["disc_bulge"] == names["disc_herniation"] == PRESENT
    assert names["disc_degeneration"] == PRESENT
    assert names["spondylolisthesis"] == ABSENT
    assert names["canal_stenosis"] == NOT_MENTIONED
    assert findings.at("L5-S1")[:4] == (ABSENT, NOT_MENTIONED, NOT_MENTIONED, PRESENT)
    assert findings.at("L3-L4") == (NOT_MENTIONED,) * 8
    assert findings.at("all") == findings.patient[:8]
    # Pfirrmann's grades are defined on T2, which patient 10 does not have.
    assert scan.grades == {"1": {"L5-S1": 5, "L4-L5": 2, "all": 5}}


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (
            lambda root: (root / "images").rename(root / "i"),
            FileNotFoundError,
            "no folder .*images",
        ),
        (lambda root: (root / spider.GRADINGS_FILE).unlink(), FileNotFoundError, "radiological_gr"),
        (
            lambda root: (root / spider.GRADINGS_FILE).write_text("Patient,IVD label\n1,1\n"),
            ValueError,
            "no column 'Disc bulging'",
        ),
    ],
)
def test_a_missing_part_is_named(change, error, sentence, tmp_path):
    made_up.write_cohort(tmp_path, 1)
    change(tmp_path)
    with pytest.raises(error, match=sentence):
        spider.scan(Inputs(tmp_path))


def test_a_disc_is_graded_once(tmp_path):
    made_up.write_cohort(tmp_path, 1)
    row = (3, 1, 0, 0, 0, 0, 0, 0, 1, 4)
    made_up.write_gradings(tmp_path / spider.GRADINGS_FILE, [row, ("3.0", "1.0", *row[2:])])
    assert spider.scan(Inputs(tmp_path)).grades == {"3": {"L5-S1": 4, "all": 4}}
    made_up.write_gradings(tmp_path / spider.GRADINGS_FILE, [row, row, (*row[:9], 3)])
    with pytest.raises(ValueError, match="row 4 grades a disc otherwise than a row above"):
        spider.scan(Inputs(tmp_path))


def test_a_grade_out_of_its_range_is_none(tmp_path):
    made_up.write_cohort(tmp_path, 1)
    rows = [(3, 1, 4, 0, 2, 0, "nan", 0, 1, 6), (3, 2, 0, 0, 0, 0, 0, 0, 0, 2)]
    made_up.write_gradings(tmp_path / spider.GRADINGS_FILE, rows)
    found = spider.scan(Inputs(tmp_path))
    assert found.grades == {"3": {"L4-L5": 2, "all": 2}}
    bad = [drop.detail for drop in found.drops if drop.reason == Reason.BAD_GRADE]
    assert len(bad) == 3
    assert all(detail.endswith("is no such number") for detail in bad)


def test_levels_are_for_axial_slices(quirky):
    with pytest.raises(ValueError, match="SPIDER has none: leave it away"):
        spider.scan(Inputs(quirky, levels="blocks"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("cohort")
    made_up.write_cohort(root, 30, size_px=32)
    build(
        root,
        None,
        root / "dataset",
        source="spider",
        split_shares="train=0.6,validation=0.2,test=0.2",
        size_px=32,
    )
    return root / "dataset"


def test_a_set_of_sagittal_views_is_built(dataset):
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert sum(counts["images"] for counts in manifest["splits"].values()) == 70
    assert sum(manifest["views"]["sagittal"].values()) == 70
    assert manifest["findings_source"] == "from the source's grades for 30 of 30 patients"
    assert manifest["grades_source"].startswith("from the source's grades for 30")
    assert manifest["dropped"] == []


def test_splits_may_share_the_text_of_equal_grades(tmp_path):
    (tmp_path / "images").mkdir()
    rows = [(patient, disc, *[0] * 7, 1) for patient in range(6) for disc in (1, 2, 3)]
    made_up.write_gradings(tmp_path / "radiological_gradings.csv", rows)
    for patient in range(6):
        voxels = made_up.sagittal_voxels(32, seed=patient)
        made_up.write_volume(tmp_path / "images" / f"{patient}_t2.mha", voxels)
    shares = "train=0.5,test=0.5"
    manifest = build(
        tmp_path, None, tmp_path / "set", source="spider", split_shares=shares, size_px=32
    )
    assert [counts["patients"] for counts in manifest["splits"].values()] == [3, 3]
    assert [counts["report_groups"] for counts in manifest["splits"].values()] == [1, 1]
    assert verify(tmp_path / "set")[0] == []


@pytest.mark.slow
def test_a_model_trains_on_it_and_is_measured(dataset, tmp_path):
    config = vit_linear.get_config("quick")
    config.total_steps = 5
    config.data.update(
        dir=str(dataset), global_batch_size=8, image_size_px=32, crop_px=32, max_tokens=12
    )
    config.data.one_level_a_batch = True
    config.model.embed_dim = 16
    config.optim.warmup_steps = 2
    config.eval.update(batch_size=8, bootstrap_resamples=5)
    metrics = train.train_and_evaluate(config, tmp_path)
    assert 0 <= metrics["test/retrieval/image_to_text_recall_at_5"] <= 1
    measured = {name.split("/")[1] for name in metrics if name.endswith("/auroc")}
    assert {"zero_shot", "linear_probe"} <= measured
