"""Numbers in headers as people's software writes them: decimal commas, blanks, nonsense."""

import numpy as np
import pydicom
import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from data_prep.images import dicom
from data_prep.images.dicom_pixels import read_pixels
from data_prep.images.headers import read_headers
from data_prep.records.drops import Reason
from tests import data_prep_cohort as cohort
from tests import dicom_syntaxes

RAMP = np.arange(100, dtype=np.uint16).reshape(10, 10)


def saved(tmp_path, syntax=ExplicitVRLittleEndian, *, vr=None, **texts):
    """The path of an axial slice some of whose fields hold these very texts."""
    dataset = cohort.slice_dataset([0, 0, 0], RAMP, orientation=cohort.ORIENTATIONS["axial"])
    dicom_syntaxes.set_pixels(dataset, RAMP, syntax)
    for field, text in texts.items():
        tag = tag_for_keyword(field)
        dataset[tag] = DataElement(tag, vr or dictionary_VR(tag), text, already_converted=True)
    pydicom.dcmwrite(tmp_path / "slice.dcm", dataset, enforce_file_format=True)
    return tmp_path / "slice.dcm"


@pytest.mark.parametrize("vr", [None, "LO"])
@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_decimal_commas_are_read(syntax, vr, tmp_path):
    path = saved(
        tmp_path,
        syntax,
        vr=vr,
        SpacingBetweenSlices="4,4",
        EchoTime="98,5",
        RepetitionTime="3500,0",
        PixelSpacing="0,5\\,75",
        ImagePositionPatient="-1,5\\+2,25 \\ 3,0e1",
        ImageOrientationPatient="0,6\\0,8\\0,0\\-0,8\\0,6\\0",
        RescaleSlope="0,5",
        RescaleIntercept="-1,25",
        WindowCenter="10,5\\99",
        WindowWidth="21,0\\9",
    )
    (header,) = read_headers(path)
    assert header.slice_gap_mm == 4.4
    assert header.sequence == "T2"
    assert header.plane.corner_mm.tolist() == [-1.5, 2.25, 30]
    assert header.plane.along_row.tolist() == [0.6, 0.8, 0]
    assert header.plane.along_column.tolist() == [-0.8, 0.6, 0]
    assert header.plane.spacing_mm == read_pixels(path).spacing_mm == (0.5, 0.75)
    np.testing.assert_array_equal(read_pixels(path).values, RAMP * 0.5 - 1.25)
    shown = read_pixels(path, display=True)
    # PS3.3 C.11.2.1.2.1: from 0 to 20 is black to white.
    assert shown.displayed
    np.testing.assert_allclose(shown.values, ((RAMP * 0.5 - 1.25) / 20).clip(0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("text", "instance"),
    [("7", 7), ("1.0 ", 1), ("2,0", 2), ("A12", 0), ("", 0), ("nan", 0), ("1_0", 0), ("0x9", 0)],
)
def test_an_instance_number_never_costs_an_image(text, instance, tmp_path):
    path = saved(tmp_path, InstanceNumber=text)
    assert read_headers(path)[0].instance == instance
    np.testing.assert_array_equal(read_pixels(path).values, RAMP)


@pytest.mark.parametrize("text", ["4,4,4", "A12", "inf", "1,234.5", "four"])
def test_a_gap_that_is_no_number_is_as_none(text, tmp_path):
    assert read_headers(saved(tmp_path, SpacingBetweenSlices=text))[0].slice_gap_mm is None


@pytest.mark.parametrize("window", [("A12", "100"), ("50", "wide"), ("", ""), ("\\50", "9\\9")])
def test_a_window_that_is_no_number_is_as_none(window, tmp_path):
    center, width = window
    shown = read_pixels(saved(tmp_path, WindowCenter=center, WindowWidth=width), display=True)
    assert not shown.displayed
    np.testing.assert_array_equal(shown.values, RAMP)


@pytest.mark.parametrize(
    ("field", "text", "reason"),
    [
        ("ImagePositionPatient", "0\\A12\\0", Reason.NO_GEOMETRY),
        ("ImageOrientationPatient", "1\\0\\0\\0\\one\\0", Reason.NO_GEOMETRY),
        ("PixelSpacing", "0,5,0,5", Reason.NO_GEOMETRY),
        ("EchoTime", cohort.CANARY, Reason.UNREADABLE_DICOM),
        ("RepetitionTime", "3 500", Reason.UNREADABLE_DICOM),
        ("NumberOfFrames", "two", Reason.UNREADABLE_DICOM),
    ],
)
def test_a_refusal_names_the_field_and_quotes_nothing(field, text, reason, tmp_path):
    with pytest.raises(dicom.Rejected) as caught:
        read_headers(saved(tmp_path, **{field: text}))
    assert (caught.value.reason, caught.value.detail) == (reason, f"{field} is no number")


@pytest.mark.parametrize("field", ["RescaleSlope", "RescaleIntercept", "PixelSpacing"])
def test_pixels_are_refused_by_the_name_of_the_field(field, tmp_path):
    with pytest.raises(dicom.Rejected) as caught:
        read_pixels(saved(tmp_path, **{field: "A12"}))
    assert caught.value.detail == f"{field} is no number"


def test_times_that_are_not_needed_may_be_nonsense(tmp_path):
    path = saved(tmp_path, EchoTime="A12", SeriesDescription="t2_tse_tra")
    assert read_headers(path)[0].sequence == "T2"
