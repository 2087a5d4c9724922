"""A table of one row an image: pictures, pages, volumes and DICOM as they are stored."""

import numpy as np
import PIL.Image
import pytest

from lumbarclip_jax import inference
from tests import data_prep_cohort as cohort
from tests import spider_folder as volumes
from tests.table_folder import HEADER, SIZE_PX, build_from, records, save


@pytest.fixture
def one(tmp_path):
    """The pixels of an image that alone is a data set, by its row."""

    def stored(**said):
        row = {"path": "a.png", "patient": 1, "sequence": "T2", "report": "A report."} | said
        manifest = build_from(tmp_path, [row.keys(), row.values()], split_shares="test=1")
        (record,) = records(tmp_path / "set")
        return record, manifest

    (tmp_path / "images").mkdir()
    return tmp_path / "images", stored


@pytest.mark.parametrize("shape", [(16, 16), (40, 24), (13, 29), (8, 4)])
def test_a_picture_of_unknown_pixel_size_is_scaled_to_fit(shape, one):
    images, stored = one
    save(images / "a.png", shape)
    with PIL.Image.open(images / "a.png") as picture:
        scale = SIZE_PX / max(picture.size)
        small = picture.resize([round(side * scale) for side in picture.size], PIL.Image.BILINEAR)
    expected = PIL.Image.new("L", (SIZE_PX, SIZE_PX))
    expected.paste(small, tuple((SIZE_PX - side) // 2 for side in small.size))
    np.testing.assert_array_equal(stored()[0]["image"][..., 0], np.asarray(expected))


def test_one_of_known_pixel_size_is_resampled_and_cut(one):
    images, stored = one
    save(images / "a.tif", (40, 48))
    with PIL.Image.open(images / "a.tif") as picture:
        small = picture.resize((24, 20), PIL.Image.BILINEAR).crop((4, 2, 20, 18))
    record, _ = stored(path="a.tif", spacing_mm=0.34375)
    np.testing.assert_array_equal(record["image"][..., 0], np.asarray(small))


def test_a_page_of_a_tiff_and_16_bits(one):
    images, stored = one
    pages = [np.full((16, 16), value, np.uint16) for value in (3, 7)]
    for page in pages:
        page[0, :2] = 0, 100 * page[1, 1]
    first, second = map(PIL.Image.fromarray, pages)
    first.save(images / "a.tiff", save_all=True, append_images=[second])
    expected = np.round(pages[1] * (255 / 700)).astype(np.uint8)
    np.testing.assert_array_equal(stored(path="a.tiff", slice="1")[0]["image"][..., 0], expected)


@pytest.mark.parametrize(
    ("said", "index", "turn"),
    [
        ({}, np.s_[2, :, :], lambda plane: plane.T[::-1]),
        ({"slice": 4}, np.s_[4, :, :], lambda plane: plane.T[::-1]),
        ({"plane": "Axial", "slice": "3.0"}, np.s_[:, :, 3], lambda plane: plane.T),
        ({"level": "L3-L4"}, np.s_[:, :, 8], lambda plane: plane.T),
    ],
)
@pytest.mark.parametrize("suffix", [".mha", ".nii.gz", ".nii"])
def test_slices_of_volumes_lie_as_radiologists_look_at_them(said, index, turn, suffix, one):
    images, stored = one
    # Cubes of voxels in patient coordinates: x to the left, y to the back, z to the head.
    voxels = np.random.default_rng(0).integers(0, 1000, (5, 16, 16)).astype(np.int16)
    path = images / f"a{suffix}"
    if suffix == ".mha":
        volumes.write_volume(path, voxels, spacing_mm=(0.6875,) * 3)
    else:
        nibabel = pytest.importorskip("nibabel", reason="needs lumbarclip_jax[nifti]")
        # Axes in another order, y to the front. NIfTI counts to the right, front and head.
        stored_as = voxels.transpose(2, 1, 0)[:, ::-1]
        affine = np.zeros((4, 4))
        affine[2, 0], affine[1, 1], affine[0, 2], affine[3, 3] = 0.6875, 0.6875, -0.6875, 1
        image = nibabel.Nifti1Image(stored_as, affine)
        image.set_sform(affine, 1)
        nibabel.save(image, path)
    shown = turn(voxels[index]).astype(np.float32)
    low, high = shown.min(), shown.max()
    expected = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    left = (SIZE_PX - shown.shape[1]) // 2
    expected[:, left : left + shown.shape[1]] = np.round((shown - low) * (255 / (high - low)))
    record, _ = stored(path=path.name, **said)
    np.testing.assert_array_equal(record["image"][..., 0], expected)
    plane = b"axial" if {"plane", "level"} & said.keys() else b"sagittal"
    assert record["plane"] == plane


def test_dicom_is_judged_by_its_header_and_known_persons_leave_the_text(tmp_path):
    files = {
        "fine.dcm": {},
        "burned.dcm": {"BurnedInAnnotation": "YES"},
        "localizer.dcm": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        "derived.dcm": {"ImageType": ["DERIVED", "SECONDARY"]},
    }
    (tmp_path / "images").mkdir()
    for name, fields in files.items():
        dataset = cohort.slice_dataset(
            [0, 0, 0], cohort.slice_pixels(1, 2, SIZE_PX), orientation=[1, 0, 0, 0, 1, 0]
        )
        dataset.SeriesDescription = "t1_tse_tra"
        for field, value in {"ImageType": ["ORIGINAL", "PRIMARY"], **fields}.items():
            setattr(dataset, field, value)
        dataset.save_as(tmp_path / "images" / name, enforce_file_format=True)
    rows = [("path", "patient", "report", "report_short"), ("noise.dcm", 1, "", "")]
    rows += [(name, 1, f"Seen: {cohort.CANARY}.", f"{cohort.CANARY} again") for name in files]
    manifest = build_from(tmp_path, rows, split_shares="test=1")
    (record,) = records(tmp_path / "set")
    assert (record["sequence"], record["plane"]) == (b"T1", b"axial")
    assert (record["report"], record["texts"]) == (b"Seen: [name].", [b"[name] again"])
    assert record["text_kinds"] == [b"short"]
    assert manifest["dropped_by_reason"] == {
        "missing_image": 1,
        "localizer": 1,
        "derived_or_secondary": 1,
        "burned_in": 1,
    }
    written = b"".join(path.read_bytes() for path in (tmp_path / "set").iterdir())
    assert cohort.CANARY.encode() not in written


def test_nifti_without_its_reader_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr("data_prep.images.nifti.is_installed", lambda: False)
    (tmp_path / "images").mkdir()
    rows = [HEADER, ("a.nii.gz", 1, "T2", "", "A report.", 1, 2)]
    with pytest.raises(ValueError, match=r"need nibabel: pip install lumbarclip_jax\[nifti\]"):
        build_from(tmp_path, rows)


@pytest.mark.parametrize("what", ["cut", "no header", "flat", "nowhere", "colour"])
def test_damaged_nifti_is_left_out(what, tmp_path):
    nibabel = pytest.importorskip("nibabel", reason="needs lumbarclip_jax[nifti]")
    (tmp_path / "images").mkdir()
    voxels = np.ones((4, 4) if what == "flat" else (4, 4, 4), np.int16)
    if what == "colour":
        voxels = voxels.astype(np.complex64)
    image = nibabel.Nifti1Image(voxels, np.eye(4))
    if what == "nowhere":
        image.set_sform(None, 0)
        image.set_qform(None, 0)
    path = tmp_path / "images" / "a.nii"
    nibabel.save(image, path)
    if what in ("cut", "no header"):
        path.write_bytes(path.read_bytes()[:360] if what == "cut" else b"\0" * 400)
    rows = [HEADER, ("a.nii", 1, "T2", "", "A report.", 1, 2)]
    reason = {"nowhere": "no_geometry", "colour": "unsupported_pixels"}.get(what)
    with pytest.raises(ValueError, match=f"1 {reason or 'unreadable_image'} "):
        build_from(tmp_path, rows, split_shares="test=1")


def test_a_trained_model_scales_pictures_as_its_data_set_did(tmp_path):
    save(tmp_path / "images" / "a.png")
    rows = [HEADER, ("a.png", 1, "T2", "", "A report.", 1, 2)]
    rendering = inference.rendering(build_from(tmp_path, rows, split_shares="test=1"))
    assert rendering.pictures == "fitted"
    values = save(tmp_path / "a.png", (40, 24))
    from_file = inference.stored_slice(tmp_path / "a.png", rendering)
    np.testing.assert_array_equal(inference.stored_slice(values, rendering), from_file)
    assert from_file[:, 0].max() == 0
    assert from_file[0].max() > 0
