"""The raw form of the published set: blocks, or the slices that its authors' tables name."""

import collections
import shutil

import pydicom
import pytest

from data_prep.records.drops import Reason
from data_prep.records.scan import Inputs
from data_prep.slices.slice_tables import natural_order, read_slice_tables
from data_prep.sources import mendeley
from tests import data_prep_cohort as cohort

PATIENTS = 3
TABLES = {
    # In natural order the file names of the cohort run from the head down: file 1 is the
    # highest of nine slices. The numbers of a row are in no order.
    "Slices Numbers.csv": "Folder,A,B,C\n1,2,5,8\n2,8,5,1\n3,5,8,40\n",
    "T1_Subfolders.csv": "Folder,Name\n1,T1_TSE_TRA\n2,T1_TSE_TRA_0004\n3,T1_TSE_TRA\n",
    "T2_Subfolders.csv": "Folder,Name\n1,T2_TSE_TRA_384\n2,NO_SUCH\n3,T2_TSE_TRA_384_0003\n",
}


def write_tables(folder, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (TABLES | {f"{k}.csv": v for k, v in changes.items()}).items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    cohort.write_studies(root, PATIENTS, 8)
    return root


def numbers(scan, patient, sequence):
    """Level -> place of the slice from below, from 1."""
    return {
        image.level: 100 - int(image.path.removesuffix(".ima")[-3:])
        for image in scan.images
        if (image.patient, image.sequence) == (patient, sequence)
    }


def test_the_tables_say_which_slices(raw, tmp_path):
    scan = mendeley.scan(Inputs(raw, slice_tables=write_tables(tmp_path)))
    # File names count down from 99 for the lowest: natural order starts at the head.
    levels = {level: 10 - n for level, n in numbers(scan, "0001", "T1").items()}
    assert levels == {"L3-L4": 2, "L4-L5": 5, "L5-S1": 8}
    assert numbers(scan, "0001", "T2") == numbers(scan, "0001", "T1")
    assert {level: 10 - n for level, n in numbers(scan, "0002", "T1").items()} == {
        "L3-L4": 1,
        "L4-L5": 5,
        "L5-S1": 8,
    }
    assert numbers(scan, "0002", "T2") == {}
    assert not [image for image in scan.images if image.patient == "0003"]
    assert scan.form.endswith("levels by the published slice tables")
    reasons = collections.Counter(drop.reason for drop in scan.drops)
    assert reasons[Reason.NO_DISC_BLOCK] == 2


def test_tables_beside_the_images_are_found_and_can_be_declined(tmp_path):
    cohort.write_studies(tmp_path, 1, 8)
    write_tables(tmp_path / mendeley.TABLES_FOLDER)
    assert mendeley.scan(Inputs(tmp_path)).form.endswith("slice tables")
    by_blocks = mendeley.scan(Inputs(tmp_path, levels="blocks"))
    assert by_blocks.form.endswith("counted from below")
    assert numbers(by_blocks, "0001", "T1") == {"L3-L4": 8, "L4-L5": 5, "L5-S1": 2}


def test_blocks_in_series_of_their_own_are_counted_together(tmp_path):
    """A T1 of a series a disc, in the frame of reference of the T2."""
    cohort.write_studies(tmp_path, 1, 8)
    (study,) = (tmp_path / mendeley.RAW_FOLDER / "0001").iterdir()
    for path in sorted(study.rglob("*.ima")):
        dataset = pydicom.dcmread(path)
        dataset.FrameOfReferenceUID = "1.2.3"
        dataset.save_as(path)
        if path.parent.name == "T1_TSE_TRA_0004":
            # Names count down from 99 for the lowest of nine.
            disc = (99 - int(path.stem[-3:])) // 3
            folder = study / f"T1_TSE_TRA_{disc}"
            folder.mkdir(exist_ok=True)
            path.rename(folder / path.name)
    (study / "T1_TSE_TRA_0004").rmdir()
    scan = mendeley.scan(Inputs(tmp_path))
    levels = {"L3-L4": 8, "L4-L5": 5, "L5-S1": 2}
    assert numbers(scan, "0001", "T1") == numbers(scan, "0001", "T2") == levels
    assert len({image.study for image in scan.images}) == 1
    reasons = {drop.reason for drop in scan.drops}
    assert not reasons & {Reason.NO_DISC_BLOCK, Reason.SERIES_NOT_CHOSEN}


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"Slices Numbers": "1,2,3,4\n2,2,3,4\n1,2,3,5\n"}, ValueError, "row 3 says another thing"),
        ({"T1_Subfolders": "1,A\n1,B\n"}, ValueError, "T1_Subfolders.csv row 2 says another"),
        ({"Slices Numbers": "1,2,3\n"}, ValueError, "row 1 is not a patient and three slice numb"),
        ({"Slices Numbers": "x\n1,2,3,4\ny\n"}, ValueError, "row 3 does not begin with a patient"),
        (
            {"T1_Subfolders": "1\n"},
            ValueError,
            "T1_Subfolders.csv row 1 is not a patient and a fol",
        ),
    ],
)
def test_bad_tables_are_named(change, error, sentence, tmp_path):
    with pytest.raises(error, match=sentence):
        read_slice_tables(write_tables(tmp_path, **change))


def test_missing_tables_are_named(raw, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Slices Numbers\.csv: correct --slice_tables"):
        mendeley.scan(Inputs(raw, levels="table"))
    with pytest.raises(ValueError, match="--levels=column is for --source=folder"):
        mendeley.scan(Inputs(raw, levels="column"))


def test_natural_order_counts(tmp_path):
    names = ["a_10.ima", "a_9.ima", "A_1.ima"]
    paths = sorted((tmp_path / name for name in names), key=natural_order)
    assert [path.name for path in paths] == ["A_1.ima", "a_9.ima", "a_10.ima"]


def test_two_studies_of_a_patient_have_no_report_that_is_surely_theirs(tmp_path):
    cohort.write_studies(tmp_path / "raw", 2, 8)
    (study,) = (tmp_path / "raw" / mendeley.RAW_FOLDER / "0001").iterdir()
    shutil.copytree(study, study.with_name("another"))
    scan = mendeley.scan(Inputs(tmp_path / "raw"))
    assert {image.patient for image in scan.images} == {"0002"}
    reasons = collections.Counter(drop.reason for drop in scan.drops)
    assert reasons[Reason.STUDY_AMBIGUOUS] == 2
