"""DICOM semantics: which series, which slice, which pixels; and what is refused unread."""

import traceback

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

from data_prep.images import dicom, pixels
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.headers import Header, read_headers
from data_prep.records.drops import Reason
from tests import data_prep_cohort as cohort

AXIAL = cohort.ORIENTATIONS["axial"]


def saved(tmp_path, *, orientation=AXIAL, corner=(0, 0, 0), shape=(8, 8), **fields):
    """The path of a T1 slice with some header fields changed; a field of None is deleted."""
    gradient = np.arange(np.prod(shape), dtype=np.uint16).reshape(shape)
    dataset = cohort.slice_dataset(list(corner), gradient, orientation=list(orientation))
    dataset.SeriesDescription = "t1_tse_tra"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    for name, value in fields.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    path = tmp_path / "slice.ima"
    dataset.save_as(path, enforce_file_format=True)
    return path


def read_header(path) -> Header:
    (found,) = read_headers(path)
    return found


@pytest.mark.parametrize(
    ("orientation", "view"),
    [
        ([1, 0, 0, 0, 1, 0], "axial"),
        ([1, 0, 0, 0, 0.8, -0.6], "axial"),
        ([0, 1, 0, 0, 0, -1], "sagittal"),
        ([1, 0, 0, 0, 0, -1], "coronal"),
        ([1, 0, 0, 1, 0, 0], None),
        ([0, 0, 0, 0, 0, 0], None),
    ],
)
def test_the_view_is_the_nearest_to_the_slice(orientation, view, tmp_path):
    found = read_header(saved(tmp_path, orientation=orientation)).plane
    assert (found and found.view) == view


def test_the_centre_of_a_tilted_slice(tmp_path):
    path = saved(
        tmp_path, orientation=[1, 0, 0, 0, 0.8, -0.6], corner=(10, 20, 30), shape=(5, 3),
        PixelSpacing=[2, 1],
    )  # fmt: skip
    # Two columns of 1 mm to the left; four rows of 2 mm backwards (0.8) and down (0.6).
    np.testing.assert_allclose(read_header(path).plane.center_mm, [11, 23.2, 27.6])


@pytest.mark.parametrize(
    ("fields", "sequence"),
    [
        ({"SeriesDescription": "t2_tse_tra_384"}, "T2"),
        ({"SeriesDescription": "T1_TSE_TRA"}, "T1"),
        ({"SeriesDescription": "tse", "EchoTime": 98, "RepetitionTime": 3500}, "T2"),
        ({"SeriesDescription": None, "EchoTime": 11, "RepetitionTime": 550}, "T1"),
        ({"SeriesDescription": "tse", "EchoTime": 30, "RepetitionTime": 3500}, None),
        ({"SeriesDescription": "tse"}, None),
        # A gradient echo is a T2*, and diffusion has the times of a T2.
        ({"SeriesDescription": "t2_me2d_tra", "ScanningSequence": "GR"}, None),
        ({"SeriesDescription": "ax T2* merge"}, None),
        ({"SeriesDescription": "t1_fl2d_tra", "ScanningSequence": "GR"}, "T1"),
        ({"SeriesDescription": "t2_tse_tra", "ScanningSequence": ["SE", "IR"]}, "T2"),
        (
            {"SeriesDescription": "dwi", "ScanningSequence": "EP"}
            | {"EchoTime": 90, "RepetitionTime": 4000},
            None,
        ),
    ],
)
def test_the_sequence_is_named_or_told_by_its_times(fields, sequence, tmp_path):
    assert read_header(saved(tmp_path, **fields)).sequence == sequence


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, None),
        ({"ImageType": ["DERIVED", "PRIMARY"]}, Reason.DERIVED_OR_SECONDARY),
        ({"ImageType": ["ORIGINAL", "SECONDARY"]}, Reason.DERIVED_OR_SECONDARY),
        ({"SeriesDescription": "PosDisp: [4] t2"}, Reason.DERIVED_OR_SECONDARY),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.2"}, Reason.DERIVED_OR_SECONDARY),
        ({"SeriesDescription": "survey"}, Reason.LOCALIZER),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, Reason.LOCALIZER),
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
    ],
)
def test_images_that_are_no_slices_of_a_patient(fields, kind, tmp_path):
    assert read_header(saved(tmp_path, **fields)).kind == kind


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Rows": 60000, "Columns": 60000}, Reason.TOO_LARGE),
        ({"NumberOfFrames": 10}, Reason.UNREADABLE_DICOM),
        ({"NumberOfFrames": 10**9}, Reason.TOO_LARGE),
        ({"SamplesPerPixel": 3}, Reason.UNSUPPORTED_PIXELS),
        ({"BitsAllocated": 32}, Reason.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, Reason.UNSUPPORTED_PIXELS),
        ({"PhotometricInterpretation": "YBR_FULL"}, Reason.UNSUPPORTED_PIXELS),
        (
            {"PhotometricInterpretation": "", "RedPaletteColorLookupTableDescriptor": [8, 0, 16]},
            Reason.UNSUPPORTED_PIXELS,
        ),
        ({"Rows": None}, Reason.NO_IMAGE),
        ({"HighBit": 15}, Reason.UNSUPPORTED_PIXELS),
        ({"PixelData": b"\0\0"}, Reason.UNREADABLE_DICOM),
        ({"PixelSpacing": [0, 0]}, Reason.NO_GEOMETRY),
    ],
)
def test_pixels_that_are_refused(fields, reason, tmp_path):
    with pytest.raises(dicom.Rejected) as caught:
        pixels.read(saved(tmp_path, **fields), 8)
    assert caught.value.reason == reason


def test_a_refusal_quotes_nothing_of_the_file(tmp_path, capfd, caplog):
    dataset = cohort.slice_dataset([0, 0, 0], np.zeros((4, 4), np.uint16), orientation=AXIAL)
    dataset.add_new("NumberOfFrames", "LO", cohort.CANARY)
    dataset.save_as(tmp_path / "slice.ima", enforce_file_format=True)
    with pytest.raises(dicom.Rejected) as caught:
        read_header(tmp_path / "slice.ima")
    shown = "".join(traceback.format_exception(caught.value)) + "".join(capfd.readouterr())
    assert cohort.CANARY not in shown + caplog.text
    assert caught.value.detail == "NumberOfFrames is no number"


def test_a_warning_of_the_reader_is_neither_shown_nor_a_refusal(tmp_path, capfd, caplog):
    path = saved(tmp_path)
    # An illegal character set, which pydicom quotes in a warning; warnings are errors here.
    planted = b"\x08\x00\x05\x00CS\x06\x00" + cohort.CANARY.encode()
    start = path.read_bytes().index(b"\x08\x00\x08\x00CS")
    path.write_bytes(path.read_bytes()[:start] + planted + path.read_bytes()[start:])
    assert read_header(path).sequence == "T1"
    assert pixels.read(path, 8).any()
    assert cohort.CANARY not in "".join(capfd.readouterr()) + caplog.text


def test_a_deflated_bomb_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    dataset = cohort.slice_dataset([0, 0, 0], np.zeros((4, 4), np.uint16), orientation=AXIAL)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "small.dcm", enforce_file_format=True)
    assert pixels.read(tmp_path / "small.dcm", 4).shape == (4, 4, 1)
    dataset.add_new(0x00091010, "OB", bytes(2**24))
    dataset.save_as(tmp_path / "bomb.dcm", enforce_file_format=True)
    assert (tmp_path / "bomb.dcm").stat().st_size < 2**16
    monkeypatch.setattr(dicom, "MAX_FILE_BYTES", 2**20)
    monkeypatch.setattr(dicom.pydicom, "dcmread", lambda *_, **__: pytest.fail("unpacked"))
    for read in (read_headers, read_pixels):
        with pytest.raises(dicom.Rejected) as caught:
            read(tmp_path / "bomb.dcm")
        assert caught.value.reason == Reason.TOO_LARGE


def test_rescale_and_inverted_grey(tmp_path):
    path = saved(tmp_path, shape=(1, 3), RescaleSlope=2, RescaleIntercept=-10)
    assert read_pixels(path).values.tolist() == [[-10, -8, -6]]
    path = saved(tmp_path, shape=(1, 3), PhotometricInterpretation="MONOCHROME1")
    assert pixels.read(path, 3)[1, :, 0].tolist() == [255, 128, 0]


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("said", [None, "", "MONOCHROME2", "monochrome2 "])
def test_pixels_that_are_plainly_grey_are_read(said, tmp_path):
    path = saved(tmp_path, shape=(1, 3), PhotometricInterpretation=said)
    assert read_header(path).kind is None
    assert pixels.read(path, 3)[1, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("said", ["PALETTE COLOR", "RGB", "ARGB", "X"])
def test_colours_are_refused_by_their_header(said, tmp_path):
    with pytest.raises(dicom.Rejected) as caught:
        read_headers(saved(tmp_path, PhotometricInterpretation=said))
    assert caught.value.reason == Reason.UNSUPPORTED_PIXELS


def test_another_spacing_is_resampled(tmp_path):
    path = saved(tmp_path, shape=(8, 4), PixelSpacing=[1.375, 1.375])
    image = pixels.read(path, 16)[..., 0]
    # Twice the published spacing: 8 x 4 becomes 16 x 8, with four empty columns on either side.
    assert not image[:, :4].any()
    assert not image[:, 12:].any()
    assert (np.diff(image[:, 5].astype(int)) >= 0).all()
    assert image[-1, 11] == 255


def test_fit_crops_and_pads_about_the_centre():
    image = np.arange(12).reshape(3, 4)
    assert pixels.fit(image, 2).tolist() == [[1, 2], [5, 6]]
    assert pixels.fit(image[:1, :2], 3).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_a_flat_image_is_black():
    assert not pixels.to_8_bit(np.full((2, 2), 7.0), 7.0, 7.0).any()
