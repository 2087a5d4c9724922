"""An archive full of planted identities, and a search for them in any encoding.

Every canary is a word or a number that occurs nowhere else.
"""

import base64
import datetime
import itertools
import pathlib
import re
import shutil

import numpy as np
import pydicom
from openpyxl import Workbook
from openpyxl.comments import Comment
from pydicom.dataset import FileDataset
from pydicom.uid import generate_uid

from tests.data_prep_cohort import ORIENTATIONS, block_position, slice_dataset

PATIENTS = 4
MODULE_FIELDS = re.findall(
    r"\w+",
    """
    AccessionNumber AcquisitionComments AdditionalPatientHistory
    AdmittingDiagnosesDescription BranchOfService ContrastBolusAgent CountryOfResidence
    CurrentPatientLocation DerivationDescription DeviceSerialNumber EthnicGroup
    FillerOrderNumberImagingServiceRequest ImageComments InstitutionAddress InstitutionName
    InstitutionalDepartmentName LUTExplanation Manufacturer MedicalRecordLocator
    NameOfPhysiciansReadingStudy Occupation OperatorsName OtherPatientNames PatientAddress
    PatientBirthName PatientComments PatientID PatientInsurancePlanCodeSequence
    PatientMotherBirthName PatientName PatientReligiousPreference PatientTelephoneNumbers
    PerformedProcedureStepDescription PerformedProcedureStepID PerformingPhysicianName
    PhysiciansOfRecord ProtocolName ReferringPhysicianAddress ReferringPhysicianName
    RegionOfResidence RequestedProcedureDescription RequestingPhysician RequestingService
    ResponsiblePerson SeriesDescription StationName StudyComments StudyDescription StudyID
    WindowCenterWidthExplanation
    """,
)


class Canaries:
    """Makes canaries and remembers where each was planted."""

    def __init__(self):
        self.planted: dict[str, str] = {}
        self._numbers = itertools.count(1)

    def word(self, place: str) -> str:
        number = next(self._numbers)
        letters = "".join("bcdfghjklm"[int(digit)] + "a" for digit in f"{number:03d}")
        return self._plant(f"Qua{letters}zox", place)

    def digits(self, place: str, form: str = "{}") -> str:
        return self._plant(form.format(f"{7_318_042 + 977 * next(self._numbers)}"), place)

    def _plant(self, value: str, place: str) -> str:
        self.planted[value] = place
        return value

    def found_in(self, content: bytes) -> set[str]:
        """The canaries in some bytes, in any case and several encodings."""
        lower = content.lower()
        return {
            value
            for value in self.planted
            if any(form.lower() in lower for form in plain_forms(value))
            or any(form in content for form in base64_forms(value))
        }


def plain_forms(value: str) -> list[bytes]:
    return [value.encode(encoding) for encoding in ("utf-8", "latin-1", "utf-16le", "utf-16be")]


def base64_forms(value: str) -> list[bytes]:
    """The base64 text of a value that starts at any of the three places in a group of bytes."""
    return [
        base64.b64encode(b"\0" * shift + form)[(4 * shift + 2) // 3 + 1 : -4]
        for form in plain_forms(value)
        for shift in range(3)
    ]


def write_archive(root: pathlib.Path, canaries: Canaries) -> list[dict]:
    """Studies of every patient, with objects of other kinds among them; what the headers say."""
    said = []
    for number in range(PATIENTS):
        persons = {
            field: canaries.word(field)
            for field in ("family", "given", "patient_id", "accession", "physician")
        }
        said.append(persons)
        folder = root / canaries.word("folder name") / canaries.word("study folder name")
        folder.mkdir(parents=True)
        series, study = generate_uid(), canaries.digits("StudyInstanceUID", "1.2.826.{}")
        for place in range(9):
            image = _slice(canaries, place, full=place == 0 and number < 2)
            _identify(image, persons)
            image.StudyInstanceUID, image.SeriesInstanceUID = study, series
            name = canaries.word("file name") + (".dcm" if place else "")
            image.save_as(folder / name, enforce_file_format=True)
            if place == 0:
                with (folder / name).open("ab") as file:
                    file.write(canaries.word("after the data set").encode())
        _write_oddities(folder, canaries, persons)
    return said


def write_published_layout(root: pathlib.Path, archive: pathlib.Path, canaries: Canaries) -> None:
    """The same studies in the folders of the published set, and a table in CSV."""
    lines = [f"Patient ID,Clinician's Notes,{canaries.word('CSV column')}"]
    for number, patient in enumerate(sorted(archive.iterdir()), start=1):
        study = root / "01_MRI_Data" / f"{number:04d}" / canaries.word("study folder")
        for series in patient.iterdir():
            shutil.copytree(series, study / canaries.word("series folder"), symlinks=True)
        (study / canaries.word("file beside series")).write_text(canaries.word("its content"))
        text = f"L4-5 bulge, Dr. {canaries.word('doctor in CSV')}"
        lines.append(f"{number},{text.replace(',', ';')},{canaries.word('CSV cell')}")
    lines.append(f"{canaries.word('CSV id')},text,")
    (root / canaries.word("folder beside the studies")).mkdir()
    (root / "01_MRI_Data" / canaries.word("no patient folder")).mkdir()
    (root / "reports.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _slice(canaries: Canaries, place: int, *, full: bool) -> FileDataset:
    pixels = np.full((8, 8), 100 + place, np.uint16)
    pixels[0, :2] = 0, 1000
    image = slice_dataset(block_position(place, 3), pixels, orientation=ORIENTATIONS["axial"])
    image.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    image.EchoTime, image.RepetitionTime = 11, 600
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPInstanceUID = canaries.digits("SOPInstanceUID", f"1.2.826.{place}.{{}}")
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    if full:
        _plant_everywhere(image, canaries)
    return image


def _identify(image: FileDataset, persons: dict) -> None:
    image.PatientName = f"{persons['family']}^{persons['given']}"
    image.PatientID = persons["patient_id"]
    image.AccessionNumber = persons["accession"]
    image.ReferringPhysicianName = f"{persons['physician']}^^^Dr"


def _plant_everywhere(image: FileDataset, canaries: Canaries) -> None:
    for field in MODULE_FIELDS:
        if pydicom.datadict.dictionary_VR(field) == "SQ":
            item = pydicom.Dataset()
            item.CodeMeaning = canaries.word(f"{field} > CodeMeaning")
            setattr(image, field, pydicom.Sequence([item]))
        else:
            setattr(image, field, canaries.word(field))
    image.SeriesDescription = f"t1_tse_tra {canaries.word('SeriesDescription')}"
    image.OtherPatientIDs = [canaries.word("OtherPatientIDs"), canaries.digits("OtherPatientIDs")]
    image.FrameOfReferenceUID = canaries.digits("FrameOfReferenceUID", "1.2.3.{}")
    image.ImageComments = "Ä" + canaries.word("UTF-8 text")
    inner, outer = pydicom.Dataset(), pydicom.Dataset()
    inner.PersonName = canaries.word("name in two sequences")
    inner.add_new(0x00091001, "UT", canaries.word("private in two sequences"))
    outer.add_new(0x0040A730, "SQ", pydicom.Sequence([inner]))
    outer.PatientID = canaries.word("id in a sequence")
    image.OriginalAttributesSequence = pydicom.Sequence([outer])
    private = image.private_block(0x0011, canaries.word("private creator"), create=True)
    for element, vr in enumerate(("LO", "UT", "SH", "PN", "LT", "UC"), start=1):
        private.add_new(element, vr, canaries.word(f"private {vr}"))
    private.add_new(0x20, "OB", canaries.word("private UTF-16").encode("utf-16le") + b"\0\0")
    private.add_new(0x21, "UN", canaries.word("private UN").encode() + b"\0")
    private.add_new(0x22, "SQ", pydicom.Sequence([inner]))
    image.add_new(0x50003000, "OB", canaries.word("curve data").encode() + b"\0")
    image.add_new(0xFFFCFFFC, "OB", canaries.word("trailing padding").encode() + b"\0")
    image.preamble = canaries.word("preamble").encode().ljust(128, b"\0")
    image.file_meta.SourceApplicationEntityTitle = canaries.word("file meta")
    image.file_meta.PrivateInformationCreatorUID = "1.2.3"
    image.file_meta.PrivateInformation = canaries.word("private file meta").encode() + b"\0"


def _write_oddities(folder: pathlib.Path, canaries: Canaries, persons: dict) -> None:
    """What lies among the images of an archive: other objects, damaged files, no DICOM at all."""

    def save(what: str, change) -> None:
        image = _slice(canaries, 0, full=False)
        _identify(image, persons)
        image.ImageComments = canaries.word(f"comment of {what}")
        change(image)
        image.save_as(folder / canaries.word(f"file name of {what}"), enforce_file_format=True)

    def overlay(image):
        image.add_new(0x60000010, "US", 8)
        image.add_new(0x60003000, "OW", canaries.word("overlay data").encode() + b"\0")

    save("an image with an overlay", overlay)
    for field, what in (
        ("NumberOfFrames", "a number of frames"),
        ("EchoTime", "an echo time"),
        ("PixelSpacing", "a pixel spacing"),
        ("BitsAllocated", "a number of bits"),
    ):
        save(what, lambda image, f=field, w=what: image.add_new(f, "LO", canaries.word(w)))
    save("a screenshot", lambda image: setattr(image, "ImageType", ["DERIVED", "SECONDARY"]))
    save("text burned in", lambda image: setattr(image, "BurnedInAnnotation", "YES"))

    def document(image):
        del image.Rows, image.PixelData
        image.SOPClassUID = "1.2.840.10008.5.1.4.1.1.104.1"
        image.EncapsulatedDocument = canaries.word("document").encode() + b"\0"

    save("a document", document)
    for what, suffix in (("a text file", ".txt"), ("a picture", ".png"), ("a DICOMDIR", "")):
        name = canaries.word(f"name of {what}") + suffix
        (folder / name).write_text(canaries.word(f"content of {what}"))
    (folder / canaries.word("name of a dead link")).symlink_to(canaries.word("dead link"))
    cut = next(path for path in sorted(folder.iterdir()) if path.suffix == ".dcm").read_bytes()
    (folder / f"{canaries.word('name of a cut file')}.dcm").write_bytes(cut[:-60])


def report_text(number: int, persons: dict, canaries: Canaries) -> str:
    """A letter with identities in typical contexts, and some that only the headers explain."""
    word, digits = canaries.word, canaries.digits
    return (
        f"{word('hospital')} {word('hospital')} Hospital\n"
        f"Name: {word('name field')} {word('name field')}   File No: {digits('file number')}\n"
        f"Referred by Dr. {word('doctor')} {word('doctor')}, tel 06 {digits('telephone')}.\n"
        f"Mrs {word('after a title')} of {number + 11} {word('street')} Lane, "
        f"mail {word('mail box')}@{word('mail host')}.example, see www.{word('web host')}.org.\n"
        f"the case of {persons['given'].lower()} ({persons['patient_id']}), "
        f"number {persons['accession'].upper()}, asked for by {persons['physician']}, "
        f"{persons['family'].upper()}.\n"
        f"L4-5: disc bulge of {number + 2} mm, grade 2/4, power 3/5.\n"
        f"Reported by: {word('reported by')}\n"
        f"Kind regards,\n{word('signature')} {word('signature')}\n"
        f"{word('signed')} {word('signed')}, MD"
    )


def write_workbook(path: pathlib.Path, said: list[dict], canaries: Canaries) -> None:
    """The report table, with identities wherever a workbook can hold one."""
    book = Workbook()
    sheet = book.active
    sheet.append(
        ["Accession", "Patient name", "Report", canaries.word("column name"), "Birth date"]
    )
    for number, persons in enumerate(said):
        sheet.append(
            [
                persons["accession"],
                f"{persons['family']} {canaries.word('other column')}",
                report_text(number, persons, canaries),
                canaries.word("another column"),
                datetime.date(1960, 1, 1 + number),
            ]
        )
    unknown = canaries.word("accession without images")
    sheet.append([unknown, "", f"Normal study. {canaries.word('unused report')}"])
    sheet.append(["", canaries.word("row without an id"), canaries.word("text without an id")])
    sheet["C2"].comment = Comment(canaries.word("cell comment"), canaries.word("comment author"))
    sheet.title = canaries.word("sheet name")
    sheet.oddHeader.center.text = canaries.word("page header")
    book.create_sheet(canaries.word("second sheet name")).append([canaries.word("second sheet")])
    book.properties.creator = canaries.word("author")
    book.properties.title = canaries.word("title")
    book.properties.keywords = canaries.word("keywords")
    book.save(path)
