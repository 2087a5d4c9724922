"""T1 or T2: words of the description, names of gradient echoes, times, classic and enhanced."""

import numpy as np
import pydicom
import pytest

from data_prep.images.headers import read_headers
from data_prep.images.sequence import weighting
from tests import data_prep_cohort as cohort

T1_TIMES, T2_TIMES, NO_TIMES = (11.0, 600.0), (100.0, 4000.0), (0.0, 0.0)


def told(description, times=NO_TIMES, *, techniques=("SE",), contrast=""):
    echo_ms, repetition_ms = times
    return weighting(
        description,
        techniques=techniques,
        contrast=contrast,
        echo_ms=echo_ms,
        repetition_ms=repetition_ms,
    )


@pytest.mark.parametrize(
    "description",
    ["T2_TSE", "AX T2", "t2w", "T2-weighted", "(T2)", "ax t2wi", "T2 FLAIR", "T2 STIR", "sT2W_TSE",
     "AXT2", "3DT2", "T2TSE", "t2_tse_tra_384", "T\N{SUBSCRIPT TWO} TSE", "T2 T12-S1", "T2-L4-L5",
     "AX C7/T1 T2", "T2 HASTE", "AX T2-2", "T2 DIXON"],
)  # fmt: skip
def test_words_name_a_t2(description):
    assert told(description) == "T2"


@pytest.mark.parametrize(
    "description",
    ["T1W", "T1 FLAIR", "t1_tse_tra_PAT2", "POST2 T1", "T1 L1-L5", "eT1W", "t1_vibe_tra", "T1 FFE"],
)
def test_words_name_a_t1(description):
    assert told(description) == "T1"


@pytest.mark.parametrize(
    "description",
    ["AXIAL T12-S1 TSE", "TSE T1-T12", "T12-L1", "T10", "T1 - L1", "T2 to T6", "C7-T1", "Th1-Th12",
     "ST1", "PAT2", "T1/T2", "T1 T2", "PD/T2", "PDT2", "tse_tra", ""],
)  # fmt: skip
def test_times_decide_where_words_do_not(description):
    assert told(description) is None
    assert told(description, T1_TIMES) == "T1"
    assert told(description, T2_TIMES) == "T2"


@pytest.mark.parametrize(
    ("description", "times", "sequence"),
    [
        ("AX T1", T2_TIMES, "T1"),
        ("AX T2", T1_TIMES, None),
        # The first echo of two under the name of the second; fat nulled by inversion is a T2.
        ("AX T2", (15.0, 3000.0), None),
        ("AX T2 TIRM", (34.0, 4000.0), "T2"),
        ("AX T1 FLAIR", (9.0, 2200.0), "T1"),
        ("AX T2 HASTE", (90.0, 1000.0), "T2"),
        ("AX PD", (30.0, 3000.0), None),
    ],
)
def test_a_name_counts_but_for_a_t2_that_its_times_deny(description, times, sequence):
    assert told(description, times) == sequence


@pytest.mark.parametrize(
    "name",
    ["T2*", "T2 *", "T2-STAR", "T2_STAR", "t2star", "T2W*", "MEDIC", "T2 MERGE", "COSMIC", "mFFE",
     "M-FFE", "T2 FFE", "T2FFE", "T2_GRE", "SWI", "t2_me2d_tra", "t2_fl2d_tra_hemo", "T2 FLASH",
     "T2 trufi", "True FISP T2", "FIESTA-C", "T2 b-FFE", "T2 CISS", "ADAGE"],
)  # fmt: skip
def test_gradient_echoes_by_any_vendors_name_are_neither(name):
    # Their times are those of a T1, and the scanning sequence may be left away.
    for times in (NO_TIMES, T1_TIMES, (17.0, 700.0), T2_TIMES):
        assert told(f"AX {name}", times, techniques=()) is None


@pytest.mark.parametrize("techniques", [["GR"], ["GR", "IR"], ["GR", "RM"]])
def test_a_gradient_echo_is_a_t1_where_it_is_called_so(techniques):
    assert told("t1 tra", T1_TIMES, techniques=techniques) == "T1"
    assert told("tra", T1_TIMES, techniques=techniques) is None
    assert told("t2 tra", T2_TIMES, techniques=techniques) is None


def test_a_hybrid_of_both_echoes_is_a_spin_echo():
    assert told("t2 tra", T2_TIMES, techniques=["SE", "GR"]) == "T2"


@pytest.mark.parametrize(
    ("fields", "sequence"),
    [
        ({"SeriesDescription": "AX T2", "EchoTime": [20, 100]}, "T2"),
        ({"SeriesDescription": "tse", "EchoTime": [20, 100]}, None),
        ({"SeriesDescription": None, "EchoTime": 95}, "T2"),
        ({"SeriesDescription": "AX", "EchoTime": 0}, None),
    ],
)
def test_times_as_headers_have_them(fields, sequence, tmp_path):
    assert saved(tmp_path, RepetitionTime=4000, **fields).sequence == sequence


@pytest.mark.parametrize(
    ("fields", "contrast", "times", "sequence"),
    [
        ({"SeriesDescription": "AX"}, "T2", (50.0, 2000.0), "T2"),
        ({"SeriesDescription": "AX"}, "T1", (9.0, 2200.0), "T1"),
        ({"SeriesDescription": "AX"}, "UNKNOWN", T2_TIMES, "T2"),
        ({"SeriesDescription": "AX"}, "T2", T1_TIMES, None),
        ({"SeriesDescription": "AX T2 TSE", "EchoPulseSequence": "SPIN"}, "T2", T2_TIMES, "T2"),
        ({"SeriesDescription": "AX T2", "EchoPulseSequence": "GRADIENT"}, "T2", T2_TIMES, None),
        ({"SeriesDescription": "AX"}, "T2_STAR", (17.0, 700.0), None),
        ({"SeriesDescription": "AX", "EchoPulseSequence": "GRADIENT"}, "", (17.0, 700.0), None),
        ({"SeriesDescription": "T1", "EchoPulseSequence": "GRADIENT"}, "T1", (5.0, 200.0), "T1"),
        ({"SeriesDescription": "AX", "EchoPulseSequence": "BOTH"}, "T2", T2_TIMES, "T2"),
        ({"SeriesDescription": "AX"}, "DIFFUSION", T2_TIMES, None),
        ({"SeriesDescription": "AX", "EchoPlanarPulseSequence": "YES"}, "T2", T2_TIMES, None),
    ],
)
@pytest.mark.parametrize("each_frame", [False, True])
def test_an_enhanced_image(each_frame, fields, contrast, times, sequence, tmp_path):
    frame = group("MREchoSequence", EffectiveEchoTime=times[0])
    frame.update(group("MRTimingAndRelatedParametersSequence", RepetitionTime=times[1]))
    if each_frame:
        frame.update(group("MRImageFrameTypeSequence", AcquisitionContrast=contrast))
        fields = fields | {"AcquisitionContrast": "MIXED"}
    else:
        fields = fields | {"AcquisitionContrast": contrast}
    found = saved(tmp_path, PerFrameFunctionalGroupsSequence=[frame], **fields)
    assert found.sequence == sequence


def group(name, **fields):
    """A functional group of one item."""
    item, holder = pydicom.Dataset(), pydicom.Dataset()
    for field, value in fields.items():
        setattr(item, field, value)
    setattr(holder, name, [item])
    return holder


def saved(tmp_path, **fields):
    """The header of an axial slice with some fields."""
    orientation = cohort.ORIENTATIONS["axial"]
    dataset = cohort.slice_dataset([0, 0, 0], np.eye(4, dtype=np.uint16), orientation=orientation)
    for name, value in fields.items():
        setattr(dataset, name, value)
    dataset.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    (header,) = read_headers(tmp_path / "slice.dcm")
    return header
