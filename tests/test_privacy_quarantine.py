"""Images that may carry an identity in their pixels are left out, each with its reason."""

import numpy as np
import pydicom
import pytest

from data_prep.images import quarantine
from data_prep.images.headers import read_headers
from data_prep.records.drops import Reason
from tests import data_prep_cohort as cohort
from tests.enhanced_files import enhanced

MR = "1.2.840.10008.5.1.4.1.1.4"
USUAL = {
    "SOPClassUID": MR,
    "Modality": "MR",
    "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"],
    "SeriesDescription": "t2_tse_tra",
}


def dataset(overlay=None, **fields):
    made = pydicom.Dataset()
    for name, value in (USUAL | fields).items():
        if value is not None:
            setattr(made, name, value)
    for element, vr, value in overlay or ():
        made.add_new((0x6002, element), vr, value)
    return made


def kind_once_saved(made, tmp_path):
    """What `kind` says of the file, read as the header reader does."""
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.add_new("PixelData", "OW", bytes(8))
    made.save_as(tmp_path / "a.dcm")
    tags = list(quarantine.FIELDS)
    return quarantine.kind(
        pydicom.dcmread(tmp_path / "a.dcm", force=True, stop_before_pixels=True, specific_tags=tags)
    )


NOT_USED = {
    "burned in": ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
    "burned in, sloppily": ({"BurnedInAnnotation": "yes "}, Reason.BURNED_IN),
    "burned in comes first": (
        {"BurnedInAnnotation": "YES", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        Reason.BURNED_IN,
    ),
    "secondary capture": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        Reason.DERIVED_OR_SECONDARY,
    ),
    "multi-frame secondary capture": (
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7.4"},
        Reason.DERIVED_OR_SECONDARY,
    ),
    "converted film": ({"ConversionType": "DF"}, Reason.DERIVED_OR_SECONDARY),
    "date of capture": ({"DateOfSecondaryCapture": "20160301"}, Reason.DERIVED_OR_SECONDARY),
    "derived": ({"ImageType": ["DERIVED", "PRIMARY", "MPR"]}, Reason.DERIVED_OR_SECONDARY),
    "derived, one value": ({"ImageType": "DERIVED"}, Reason.DERIVED_OR_SECONDARY),
    "secondary": ({"ImageType": ["ORIGINAL", "SECONDARY"]}, Reason.DERIVED_OR_SECONDARY),
    "screen save": (
        {"ImageType": ["ORIGINAL", "PRIMARY", "SCREEN SAVE"], "BurnedInAnnotation": "NO"},
        Reason.DERIVED_OR_SECONDARY,
    ),
    "position display": ({"SeriesDescription": "PosDisp: [4] t2"}, Reason.DERIVED_OR_SECONDARY),
    "screenshot": ({"SeriesDescription": "Screen Shot 2"}, Reason.DERIVED_OR_SECONDARY),
    "dose report": ({"SeriesDescription": "Dose Report"}, Reason.DERIVED_OR_SECONDARY),
    "protocol page": ({"SeriesDescription": "Patient Protocol"}, Reason.DERIVED_OR_SECONDARY),
    "PDF": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.104.1"}, Reason.NO_IMAGE),
    "structured report": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.88.67"}, Reason.NO_IMAGE),
    "presentation state": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.11.1"}, Reason.NO_IMAGE),
    "CT": ({"Modality": "CT"}, Reason.NOT_MR),
    "localizer": ({"SeriesDescription": "localiser"}, Reason.LOCALIZER),
    "other class": ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, Reason.DOUBTFUL_ORIGIN),
    "mixed": ({"ImageType": ["MIXED", "PRIMARY"]}, Reason.DOUBTFUL_ORIGIN),
    "says nothing": (dict.fromkeys(USUAL), Reason.DOUBTFUL_ORIGIN),
    "unknown answer": (
        {"ImageType": ["MIXED", "PRIMARY"], "BurnedInAnnotation": "UNKNOWN"},
        Reason.DOUBTFUL_ORIGIN,
    ),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("case", NOT_USED)
def test_images_that_may_not_be_used(case, tmp_path):
    fields, reason = NOT_USED[case]
    assert quarantine.kind(dataset(**fields)) == reason
    assert kind_once_saved(dataset(**fields), tmp_path) == reason


@pytest.mark.parametrize(
    ("overlay", "reason"),
    [
        # A plane of its own: rows, one bit, at bit 0, with data.
        (
            [(0x10, "US", 2), (0x100, "US", 1), (0x102, "US", 0), (0x3000, "OW", b"\1\0")],
            Reason.DOUBTFUL_OVERLAY,
        ),
        # In bit 12 of the pixels, as ACR-NEMA has it.
        ([(0x10, "US", 2), (0x100, "US", 16), (0x102, "US", 12)], Reason.OVERLAY),
        ([(0x3000, "OW", b"\1\0")], Reason.DOUBTFUL_OVERLAY),
        ([(0x10, "US", 2)], Reason.OVERLAY),
    ],
)
def test_overlays(overlay, reason, tmp_path):
    assert quarantine.kind(dataset(overlay)) == reason
    assert kind_once_saved(dataset(overlay), tmp_path) == reason


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"BurnedInAnnotation": "NO"},
        {"ImageType": None},
        {"SOPClassUID": None, "Modality": None},
        {"SOPClassUID": f"{MR}.1", "SeriesDescription": None},
        {"ImageType": ["MIXED", "PRIMARY"], "BurnedInAnnotation": "NO"},
    ],
)
def test_images_that_may_be_used(fields, tmp_path):
    assert quarantine.kind(dataset(**fields)) is None
    assert kind_once_saved(dataset(**fields), tmp_path) is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"ImageType": ["MIXED", "PRIMARY"]}, None),
        ({"BurnedInAnnotation": "YES"}, Reason.BURNED_IN),
        ({"ImageType": ["DERIVED", "SECONDARY"]}, Reason.DERIVED_OR_SECONDARY),
    ],
)
def test_keeping_the_doubtful_keeps_nothing_else(fields, kind, tmp_path):
    image = cohort.slice_dataset(
        [0, 0, 0], np.zeros((4, 4), np.uint16), orientation=cohort.ORIENTATIONS["axial"]
    )
    for name, value in (USUAL | fields).items():
        setattr(image, name, value)
    image.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_headers(tmp_path / "a.dcm", keep_doubtful=True)[0].kind == kind
    assert read_headers(tmp_path / "a.dcm")[0].kind is not None


@pytest.mark.parametrize("image_type", ["ORIGINAL", "MIXED"])
def test_frames_are_judged_by_their_own_type(image_type, tmp_path):
    types = {
        0: ["ORIGINAL", "PRIMARY", "T2", "NONE"],
        1: ["DERIVED", "SECONDARY", "T2", "NONE"],
        2: ["DERIVED", "PRIMARY", "M", "MPR"],
    }
    path, _ = enhanced(tmp_path, frame_types=types, image_type=image_type)
    derived = Reason.DERIVED_OR_SECONDARY
    assert [header.kind for header in read_headers(path)] == [None, derived, derived]


def test_frames_of_a_derived_or_mixed_file_that_say_nothing_are_left_out(tmp_path):
    types = {0: ["ORIGINAL", "PRIMARY", "T2", "NONE"]}
    path, _ = enhanced(tmp_path, frame_types=types, image_type="DERIVED")
    assert {header.kind for header in read_headers(path)} == {Reason.DERIVED_OR_SECONDARY}
    path, _ = enhanced(tmp_path, frame_types=types, image_type="MIXED")
    doubtful = Reason.DOUBTFUL_ORIGIN
    assert [header.kind for header in read_headers(path)] == [None, doubtful, doubtful]


def test_only_the_doubtful_can_be_kept():
    assert {Reason.DOUBTFUL_OVERLAY, Reason.DOUBTFUL_ORIGIN} == quarantine.DOUBTFUL
