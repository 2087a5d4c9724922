"""RSNA 2024: levels by marked points; several orientations and gaps in one series; its tables."""

import collections
import shutil

import pytest

from data_prep.images.headers import read_headers
from data_prep.records.drops import Reason
from data_prep.records.findings import FINDINGS
from data_prep.records.scan import Inputs
from data_prep.sources import rsna
from tests.rsna_folder import (
    ABSENT,
    DISCS,
    NOT_MENTIONED,
    OTHER_FRAME,
    PRESENT,
    SAGITTAL,
    SIDES_OF_MARKS,
    save,
    write_axial,
    write_study,
    write_tables,
)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Canal marks; foraminal marks alone; an axial series in a frame of its own; no marks."""
    root = tmp_path_factory.mktemp("rsna")
    foraminal = tuple(SIDES_OF_MARKS)[1:]
    lowest = {level: DISCS[level] for level in ("L3/L4", "L4/L5", "L5/S1")}
    marks = [
        *write_study(root, "11"),
        *write_study(root, "12", marks=foraminal),
        *write_study(root, "13", frame=OTHER_FRAME, discs=lowest),
        *write_study(root, "14", marks=()),
        ("11", "200", 99, "Spinal Canal Stenosis", "L5/S1", 1.0, 1.0),
        ("11", "200", "x", "Spinal Canal Stenosis", "L5/S1", 1.0, 1.0),
    ]
    severities = {
        "11": {
            "spinal_canal_stenosis_l4_l5": "Severe",
            "left_neural_foraminal_narrowing_l4_l5": "Severe",
            "right_neural_foraminal_narrowing_l4_l5": "Moderate",
            "left_subarticular_stenosis_l4_l5": "Normal/Mild",
            "spinal_canal_stenosis_l5_s1": "Normal/Mild",
        },
        "12": {"spinal_canal_stenosis_l3_l4": "Normal/Mild"},
        "13": {"spinal_canal_stenosis_l3_l4": "Moderate", "left_subarticular_stenosis_l5_s1": "x"},
        "14": {"left_subarticular_stenosis_l5_s1": "Severe"},
    }
    write_tables(root, marks, severities)
    return root


@pytest.fixture(scope="module")
def scan(cohort):
    return rsna.scan(Inputs(cohort))


def chosen(scan, study):
    return {
        image.level: int(image.path.split("/")[-1].removesuffix(".dcm"))
        for image in scan.images
        if image.patient == study
    }


def test_a_plane_through_a_mark_shows_its_disc(scan):
    # Five discs of three slices with the even numbers from 2, the middle one in the disc.
    assert chosen(scan, "11") == {"L3-L4": 16, "L4-L5": 22, "L5-S1": 28}
    assert {(i.plane, i.sequence) for i in scan.images} == {("axial", "T2")}


def test_marks_beside_the_disc_will_do(scan):
    # Foramina are marked 10 mm above the middle: beyond the top slice of their disc, 5 mm above it.
    assert chosen(scan, "12") == {"L3-L4": 14, "L4-L5": 20, "L5-S1": 26}


def test_points_of_another_frame_of_reference_are_not_compared(scan, cohort):
    header = read_headers(cohort / "train_images/13/300/2.dcm")[0]
    assert header.frame_of_reference == OTHER_FRAME
    # Blocks counted from below; the marks would have said the same only by luck.
    assert chosen(scan, "13") == {"L3-L4": 4, "L4-L5": 10, "L5-S1": 16}
    assert "levels by marked points in 2 of 4 studies" in scan.form


def test_without_marks_the_lowest_three_blocks_count(scan):
    assert chosen(scan, "14") == {"L3-L4": 16, "L4-L5": 22, "L5-S1": 28}


def test_levels_by_blocks_on_demand(cohort):
    assert chosen(rsna.scan(Inputs(cohort, levels="blocks")), "12")["L3-L4"] == 16


def test_texts_state_severities(scan):
    assert scan.templated
    assert scan.reports["11"] == (
        "L4-L5: Severe spinal canal stenosis and left neural foraminal narrowing. Moderate right "
        "neural foraminal narrowing. Normal or mild left subarticular stenosis.\n"
        "L5-S1: Normal or mild spinal canal stenosis."
    )
    assert scan.reports["14"] == "L5-S1: Severe left subarticular stenosis."


def test_labels_are_severities(scan):
    stenosis = FINDINGS.index("canal_stenosis")
    assert scan.findings["11"].patient[stenosis] == PRESENT
    assert scan.findings["11"].at("L4-L5")[stenosis] == PRESENT
    assert scan.findings["11"].at("L5-S1")[stenosis] == ABSENT
    assert scan.findings["11"].at("L3-L4")[stenosis] == NOT_MENTIONED
    assert scan.findings["12"].patient[stenosis] == ABSENT
    assert scan.findings["14"].patient[stenosis] == NOT_MENTIONED


def test_what_is_left_out_has_a_reason(scan):
    assert collections.Counter(drop.reason for drop in scan.drops) == {
        Reason.NOT_AXIAL: 8,
        Reason.MISSING_IMAGE: 1,
        Reason.BAD_LEVEL: 1,
        Reason.BAD_GRADE: 1,
    }


def test_tables_may_repeat_themselves_and_not_contradict(tmp_path):
    marks = write_study(tmp_path, "15")
    graded = {"spinal_canal_stenosis_l4_l5": "severe", "spinal_canal_stenosis_l5_s1": "nan"}
    write_tables(tmp_path, [*marks, *marks], {"15": graded})
    tables = [tmp_path / "train.csv", tmp_path / "train_series_descriptions.csv"]
    for path in tables:
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines, lines[-1].replace("15", "15.0", 1)]))
    found = rsna.scan(Inputs(tmp_path))
    assert found.reports == {"15": "L4-L5: Severe spinal canal stenosis."}
    assert chosen(found, "15") == {"L3-L4": 16, "L4-L5": 22, "L5-S1": 28}
    assert [drop.reason for drop in found.drops] == [Reason.NOT_AXIAL] * 2
    changes = (("severe", "Moderate"), ("Axial T2", "Axial T1"))
    for path, change in zip(tables, changes, strict=True):
        once = path.read_text()
        path.write_text(once + "\n" + once.splitlines()[-1].replace(*change))
        row = len(once.splitlines()) + 1
        with pytest.raises(ValueError, match=rf"{path.name} row {row} \w+ a \w+ otherwise than"):
            rsna.scan(Inputs(tmp_path))
        path.write_text(once)


def test_marks_in_any_spelling_and_those_without_a_place(tmp_path):
    marks = [
        (f"{study}.0", series, f"{instance}.0", condition.upper(), level.replace("/", "-"), x, y)
        for study, series, instance, condition, level, x, y in write_study(tmp_path, "15")
    ]
    first = marks[0]
    bad = [(*first[:5], "nan", 1), (*first[:4], "L5", 1, 1), ("x", *first[1:]), (*first[:6], 99)]
    write_tables(tmp_path, marks + bad, {"15": {"spinal_canal_stenosis_l4_l5": "Severe"}})
    found = rsna.scan(Inputs(tmp_path))
    assert chosen(found, "15") == {"L3-L4": 16, "L4-L5": 22, "L5-S1": 28}
    counted = [drop.location for drop in found.drops if drop.reason == Reason.BAD_LEVEL]
    assert counted == [f"coordinates row {len(marks) + 2 + n}" for n in range(len(bad) - 1)]


def test_a_level_marked_in_two_places_is_counted(tmp_path):
    marks = write_study(tmp_path, "15")
    canal = next(mark for mark in marks if mark[3:5] == ("Spinal Canal Stenosis", "L4/L5"))
    graded = {"15": {"spinal_canal_stenosis_l4_l5": "x"}}
    write_tables(tmp_path, [*marks, (*canal[:6], 1.0)], graded)
    found = rsna.scan(Inputs(tmp_path))
    assert chosen(found, "15")["L4-L5"] == 22
    bad = [drop for drop in found.drops if drop.reason == Reason.BAD_LEVEL]
    assert [(d.location, d.detail) for d in bad] == [
        (f"coordinates row {len(marks) + 2}", "another place than in a row above")
    ]


def test_a_series_called_axial_is_checked(cohort, tmp_path):
    write_study(tmp_path, "15")
    save(tmp_path / "train_images/15/300/90.dcm", [0, -78, 160], SAGITTAL)
    write_tables(tmp_path, [], {"15": {"spinal_canal_stenosis_l4_l5": "Severe"}})
    found = rsna.scan(Inputs(tmp_path))
    assert len(found.images) == 3
    assert Reason.NOT_AXIAL in {
        drop.reason for drop in found.drops if drop.location.endswith("90.dcm")
    }


def test_a_series_that_is_not_there_is_counted(tmp_path):
    write_study(tmp_path, "15")
    graded = {"spinal_canal_stenosis_l4_l5": "Severe"}
    write_tables(tmp_path, [], {"15": graded, "16": graded})
    drops = rsna.scan(Inputs(tmp_path)).drops
    missing = [drop.location for drop in drops if drop.reason == Reason.MISSING_IMAGE]
    assert missing == ["train_images/16/300"]


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        (lambda r: (r / "train_images").rename(r / "i"), FileNotFoundError, "no folder .*train_im"),
        (lambda r: (r / "train.csv").unlink(), FileNotFoundError, "no file .*train.csv"),
        (
            lambda r: (r / "train_label_coordinates.csv").write_text("study_id,x\n1,2\n"),
            ValueError,
            "no column 'series_id'",
        ),
    ],
)
def test_a_missing_part_is_named(change, error, sentence, tmp_path):
    write_study(tmp_path, "15")
    write_tables(tmp_path, [], {"15": {}})
    change(tmp_path)
    with pytest.raises(error, match=sentence):
        rsna.scan(Inputs(tmp_path))


@pytest.mark.parametrize("marked", [True, False])
def test_discs_in_several_series(tmp_path, marked):
    """A series with the upper discs, one with the lower, and L5-S1 scanned again."""
    rows = write_study(tmp_path, "15")
    folder = tmp_path / "train_images/15"
    shutil.rmtree(folder / "300")
    levels = {"300": ("L1/L2", "L2/L3", "L3/L4"), "400": ("L4/L5", "L5/S1"), "500": ("L5/S1",)}
    for series, shown in levels.items():
        write_axial(folder / series, discs={level: DISCS[level] for level in shown})
    graded = {"spinal_canal_stenosis_l4_l5": "Severe"}
    write_tables(tmp_path, rows if marked else [], {"15": graded})
    with (tmp_path / "train_series_descriptions.csv").open("a") as file:
        file.writelines(f"15,{series},Axial T2\n" for series in ("400", "500"))
    found = rsna.scan(Inputs(tmp_path))
    assert {image.level: tuple(image.path.split("/")[2:]) for image in found.images} == {
        "L3-L4": ("300", "16.dcm"),
        "L4-L5": ("400", "4.dcm"),
        "L5-S1": ("400", "10.dcm"),
    }
    assert {image.level: image.series for image in found.images} == {
        "L3-L4": "1.2.300",
        "L4-L5": "1.2.400",
        "L5-S1": "1.2.400",
    }
    not_used = [d.location for d in found.drops if d.reason == Reason.SERIES_NOT_CHOSEN]
    assert not_used == ["train_images/15/500"]


def test_the_series_that_runs_through_a_mark_shows_its_disc(tmp_path):
    """Two series of equal rank, of which the last ends 6 mm below a disc of the other."""
    rows = write_study(tmp_path, "15")
    folder = tmp_path / "train_images/15"
    shutil.rmtree(folder / "300")
    for series, discs in {
        "300": {"L3/L4": (70, 0), "L4/L5": (35, 0)},
        "400": {"L4/L5": (24, 0), "L5/S1": (0, 0)},
    }.items():
        write_axial(folder / series, discs=discs)
    write_tables(tmp_path, rows, {"15": {"spinal_canal_stenosis_l4_l5": "Severe"}})
    with (tmp_path / "train_series_descriptions.csv").open("a") as file:
        file.write("15,400,Axial T2\n")
    found = rsna.scan(Inputs(tmp_path))
    assert {image.level: image.series for image in found.images} == {
        "L3-L4": "1.2.300",
        "L4-L5": "1.2.300",
        "L5-S1": "1.2.400",
    }


def test_levels_by_column_are_another_sources(cohort):
    with pytest.raises(ValueError, match="--levels is auto or blocks"):
        rsna.scan(Inputs(cohort, levels="column"))
