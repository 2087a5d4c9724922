"""Several studies and reports of a patient, their labels, and two persons of one patient id."""

import collections

import pydicom
import pytest

from data_prep.images.persons import person
from data_prep.records.drops import Reason
from data_prep.records.scan import Columns
from tests.archive_folder import Archive, scan, table
from tests.data_prep_cohort import CANARY

OLD, NEW = "20190301", "20210301"


def reasons(scan) -> dict:
    return collections.Counter(drop.reason for drop in scan.drops)


@pytest.fixture
def archive(tmp_path):
    """Two studies of patient 7, and one of patient 8."""
    archive = Archive(tmp_path / "archive")
    archive.study("7", "old", date=OLD)
    archive.study("7", "new", date=NEW)
    archive.study("8", "other")
    return archive


def test_rows_that_name_the_patient_alone_do_not_tell_which_study_is_meant(archive, tmp_path):
    for rows in ([(7, "2019"), (8, "b")], [(7, "2019"), (7, "2021"), (8, "b")]):
        found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), *rows]))
        assert found.reports == {"8": "b"}
        assert {image.patient for image in found.images} == {"8"}
    assert reasons(found)[Reason.REPORT_REPEATED] == 2


def test_a_study_without_usable_images_may_be_the_one_that_is_reported(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "old", date=OLD)
    sagittal = {"PatientID": "7", "AccessionNumber": "new", "StudyInstanceUID": "1.2.3"}
    archive.series(sagittal, "T2", view="sag")
    archive.study("8", "b")
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a"), (8, "b")])
    found = scan(archive.root, reports)
    assert found.reports == {"8": "b"}
    assert reasons(found)[Reason.STUDY_AMBIGUOUS] == 1
    with_accession = [("MRN", "Acc", "Text"), (7, "old", "a"), (8, "b", "b")]
    columns = Columns(patient="MRN", accession="Acc", report="Text")
    found = scan(archive.root, table(tmp_path / "r.csv", with_accession), columns)
    assert found.reports == {"7": "a", "8": "b"}


def test_an_exam_of_another_modality_or_filed_twice_makes_no_doubt(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "one")
    same = {"PatientID": "7", "AccessionNumber": "one", "StudyInstanceUID": "1.2.3"}
    archive.series(same, "T2", view="sag")
    other = {"PatientID": "7", "AccessionNumber": "two", "StudyInstanceUID": "1.2.4"}
    archive.series(other, "T1", Modality="CT", SOPClassUID="1.2.840.10008.5.1.4.1.1.2")
    found = scan(archive.root, table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")]))
    assert found.reports == {"7": "a"}


def test_a_message_says_what_to_name_where_nothing_is_sure(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "old", date=OLD)
    archive.study("7", "new", date=NEW)
    reports = table(tmp_path / "r.csv", [("MRN", "Text"), (7, "a")])
    with pytest.raises(ValueError, match=r"2 left out.*--accession_column or --study_column"):
        scan(archive.root, reports)


def test_an_accession_of_two_patients_is_no_ones(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "same")
    archive.study("8", "same ")
    archive.study("9", "own")
    reports = table(tmp_path / "r.csv", [("Acc", "Text"), ("same", "a"), ("own", "b")])
    found = scan(archive.root, reports, Columns(accession="Acc", report="Text"))
    assert found.reports == {"9": "b"}
    assert reasons(found)[Reason.STUDY_AMBIGUOUS] == 2


@pytest.mark.filterwarnings("ignore:Invalid value for VR")  # as old files write them
def test_of_two_studies_of_one_day_the_later_is_taken(tmp_path):
    archive = Archive(tmp_path / "archive")
    # The one that sorts last by its UID came first.
    studies = sorted(
        (archive.study("7", name, StudyTime=time), name)
        for name, time in (("a", "181500"), ("b", "090000"), ("c", "18:15:01.5"))
    )
    reports = table(tmp_path / "r.csv", [("Acc", "Text"), *((n, n) for _, n in studies)])
    found = scan(archive.root, reports, Columns(accession="Acc", report="Text"))
    assert found.reports == {"7": "c"}


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("other", "two"),
    [
        ({"IssuerOfPatientID": "SOUTH"}, True),
        ({"PatientBirthDate": "19600102"}, True),
        ({"PatientName": f"{CANARY}^OMEGA", "PatientBirthDate": "1950.01.02"}, False),
        ({"PatientName": "OMEGA^ZOE", "PatientBirthDate": ""}, True),
        ({"PatientName": "Älpha^Béatrice", "PatientBirthDate": ""}, False),
        ({"PatientName": "", "PatientBirthDate": "", "IssuerOfPatientID": ""}, False),
    ],
)
def test_two_persons_of_one_patient_id(tmp_path, other, two):
    archive = Archive(tmp_path / "archive")
    fields = {
        "PatientName": "ALPHA^BEATRICE",
        "IssuerOfPatientID": "NORTH",
        "PatientBirthDate": "19500102",
    }
    archive.study("7", "old", date=OLD, **fields)
    archive.study("7", "new", date=NEW, **(fields | other))
    archive.study("8", "b", **fields)
    rows = [("Acc", "Text"), ("old", "a"), ("new", "b"), ("b", "c")]
    columns = Columns(accession="Acc", report="Text")
    found = scan(archive.root, table(tmp_path / "r.csv", rows), columns)
    assert reasons(found)[Reason.TWO_PERSONS] == 2 * two
    assert found.reports == ({"8": "c"} if two else {"7": "b", "8": "c"})


def test_numbered_pseudonyms_are_no_two_persons():
    one, other = pydicom.Dataset(), pydicom.Dataset()
    one.PatientName, other.PatientName = f"{CANARY}_0017", f"{CANARY}_0018"
    assert not person(one).differs(person(other))
    assert CANARY.casefold() not in repr(person(one)).casefold()


def test_names_of_all_studies_leave_the_report(tmp_path):
    archive = Archive(tmp_path / "archive")
    archive.study("7", "old", date=OLD, PatientName="FIRST^NAME")
    archive.study("7", "new", date=NEW, PatientName="SECOND^NAME")
    reports = table(tmp_path / "r.csv", [("Acc", "Text"), ("new", "a")])
    found = scan(archive.root, reports, Columns(accession="Acc", report="Text"))
    assert {"FIRST^NAME", "SECOND^NAME"} <= found.identities["7"]
