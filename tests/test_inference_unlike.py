"""What is unlike the training data is encoded, and said: once a call, counted, by file."""

import dataclasses
import json
import logging
import shutil

import numpy as np
import pytest

import lumbarclip_jax
from lumbarclip_jax import inference
from tests import data_prep_cohort as cohort
from tests.enhanced_files import enhanced

PIXELS = np.arange(32 * 32, dtype=np.uint16).reshape(32, 32)
T1 = {"SeriesDescription": "t1_tse_tra", "EchoTime": 11, "RepetitionTime": 600}
T2 = {"SeriesDescription": "t2_tse_tra", "EchoTime": 90, "RepetitionTime": 4000}
MANIFEST = {
    "source": "folder: DICOM of any layout",
    "image": {"size_px": 32, "spacing_mm": 0.6875, "window": "full"},
    "views": {"axial": {"T1": 9, "T2": 9}},
}


def written(path, *, plane="axial", position="0\\0\\0", **fields):
    dataset = cohort.slice_dataset(position, PIXELS, orientation=cohort.ORIENTATIONS[plane])
    for name, value in (T1 | fields).items():
        setattr(dataset, name, value)
    dataset.save_as(path)
    return path


def said(caplog, items, manifest=MANIFEST) -> str:
    caplog.clear()
    inference.warn_of_unlike(inference.slices_of(items), manifest)
    assert len(caplog.records) <= 1
    return caplog.records[0].getMessage() if caplog.records else ""


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"plane": "sag"}, "sagittal"),
        ({"SeriesDescription": "localizer"}, "a localizer, survey or scout series"),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, "derived, secondary-capture or screen image"),
        ({"SeriesDescription": "t2_star"}, "neither T1 nor T2 by description, TE and TR"),
        ({"PixelSpacing": [1.4, 1.4]}, "pixels of more than 1.375 mm"),
        ({"PixelSpacing": [0.17, 0.17]}, "pixels of less than 0.171875 mm"),
        (
            {"position": None},
            "slice position, orientation or pixel spacing is missing or invalid",
        ),
        (
            {"EchoTime": None, "SeriesDescription": "tra", "RepetitionTime": None},
            "neither T1 nor T2 by description, TE and TR",
        ),
    ],
)
def test_a_file_unlike_the_training_data_is_named_with_its_reason(fields, why, tmp_path, caplog):
    path = written(tmp_path / "odd.dcm", **fields)
    assert said(caplog, path) == (
        "1 of 1 DICOM files are unlike the axial T1/T2 slices that the model was trained on: "
        f"{why} (1, {path}). What it says of them means little"
    )


@pytest.mark.parametrize(
    "fields", [{}, T2, {"PixelSpacing": [1.3, 1.3]}, {"PixelSpacing": [0.2, 0.2]}]
)
def test_nothing_is_said_of_a_file_like_the_training_data(fields, tmp_path, caplog):
    assert not said(caplog, written(tmp_path / "usual.dcm", **fields))


def test_many_files_have_one_warning_that_counts_and_names_the_first(tmp_path, caplog):
    names = ("usual", "sagittal_1", "localizer", "sagittal_2", "coarse")
    paths = [tmp_path / f"{name}.dcm" for name in names]
    written(paths[0])
    written(paths[1], plane="sag", PixelSpacing=[2, 2])
    written(paths[2], SeriesDescription="localizer", plane="sag")
    written(paths[3], plane="sag")
    written(paths[4], PixelSpacing=[2, 2])
    message = said(caplog, [PIXELS.astype(np.uint8), *paths])
    assert message.startswith("4 of 5 DICOM files are unlike")
    assert message.endswith(
        f": sagittal (2, first {paths[1]}); pixels of more than 1.375 mm (2, first "
        f"{paths[1]}); a localizer, survey or scout series (1, {paths[2]}). "
        "What it says of them means little"
    )


def test_a_frame_is_judged_by_its_own_groups(tmp_path, caplog):
    path, _ = enhanced(tmp_path, orientations={1: cohort.ORIENTATIONS["sag"]})
    assert not said(caplog, [(path, 0), (path, 2)], MANIFEST | {"image": {"spacing_mm": 1.0}})
    message = said(caplog, [(path, 0), (path, 1)], MANIFEST | {"image": {"spacing_mm": 1.0}})
    assert message.startswith("1 of 2 DICOM files")
    assert f": sagittal (1, {path})." in message


@pytest.mark.parametrize(
    ("manifest", "familiar"),
    [
        ({"views": {"axial": {"T1": 9}}}, "axial T1"),
        ({"views": {"sagittal": {"T2": 9}}}, "sagittal T2"),
        ({"source": "spider: volumes"}, "sagittal T1"),
        ({"source": "spider: volumes"}, "sagittal T2"),
        ({"source": "mendeley: ready slices"}, "axial T2"),
    ],
)
def test_what_is_familiar_is_what_the_run_was_trained_on(manifest, familiar, tmp_path, caplog):
    older = {name: value for name, value in MANIFEST.items() if name != "views"}
    for plane, name in (("axial", "axial"), ("sag", "sagittal")):
        for sequence, fields in (("T1", T1), ("T2", T2)):
            path = written(tmp_path / "slice.dcm", plane=plane, **fields)
            if f"{name} {sequence}" == familiar:
                assert not said(caplog, path, older | manifest)
            elif "views" in manifest:
                message = said(caplog, path, older | manifest)
                assert f"unlike the {familiar} slices" in message


def test_the_sequence_of_rsna_is_not_asked_of_its_headers(tmp_path, caplog):
    path = written(tmp_path / "a.dcm", SeriesDescription="", EchoTime=None, RepetitionTime=None)
    assert said(caplog, path)
    assert not said(caplog, path, MANIFEST | {"source": "rsna: 9 studies"})


def test_encoding_warns_once_a_call(tiny_run, tmp_path, caplog):
    model = lumbarclip_jax.load(tiny_run.folder)
    paths = [written(tmp_path / f"{number}.dcm", **T2) for number in range(9)]
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        caplog.clear()
        assert model.encode_image(paths).shape == (9, 16)  # two batches
        (record,) = caplog.records
        assert f": T2 (9, first {paths[0]})." in record.getMessage()
        assert "9 of 9 DICOM files are unlike the axial T1 slices" in record.getMessage()
    caplog.clear()
    model.zero_shot(written(tmp_path / "t1.dcm"), ["disc protrusion", "normal disc"])
    assert not caplog.records


def test_a_run_that_kept_no_views_still_encodes(tiny_run, tmp_path, caplog):
    folder = shutil.copytree(tiny_run.folder, tmp_path / "run")
    manifest = json.loads((folder / "data_manifest.json").read_text())
    del manifest["views"]
    (folder / "data_manifest.json").write_text(json.dumps(manifest))
    model = inference.Model(dataclasses.replace(tiny_run, folder=folder))
    model.encode_image(written(tmp_path / "t2.dcm", **T2))
    assert not caplog.records
    model.encode_image(written(tmp_path / "sag.dcm", plane="sag"))
    assert "unlike the axial T1/T2 slices" in caplog.text
