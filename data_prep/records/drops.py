"""What a build left out, and why: one stable code a reason."""

import collections
import csv
import dataclasses
import enum
import io
import pathlib
from collections.abc import Iterable, Mapping

from data_prep.process.files import write_whole
from data_prep.records.pseudonyms import Pseudonyms
from data_prep.records.schema import LEVELS


class Reason(enum.StrEnum):
    """A reason code, as it appears in the manifest; `meaning` is the line shown to people."""

    meaning: str

    def __new__(cls, code: str, meaning: str):
        member = str.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    REPORT_EMPTY = "report_empty", "the row has no report text"
    REPORT_BAD_ID = "report_bad_id", "the row has no usable patient id"
    REPORT_REPEATED = (
        "report_repeated",
        "another row holds another report under its ids: "
        "name --accession_column or --study_column, too",
    )
    REPORT_WITHOUT_IMAGE = "report_without_image", "no usable image of this patient"
    IMAGE_WITHOUT_REPORT = "image_without_report", "no report of this image's patient"
    FINDINGS_WITHOUT_IMAGE = "findings_without_image", "labels of a patient who has no record"
    GRADES_WITHOUT_IMAGE = "grades_without_image", "grades of a patient who has no record"
    LABELS_WITHOUT_IMAGE = (
        "labels_without_image",
        "a row of --label_table of a patient or image that has no record",
    )
    TEXTS_WITHOUT_IMAGE = (
        "texts_without_image",
        "a row of --texts of a patient or image that has no record",
    )
    TEXT_REPEATED = "text_repeated", "a row of --texts that repeats its record's report or a text"
    LABELS_AMBIGUOUS = (
        "labels_ambiguous",
        "labels or texts of a patient with several studies or reports that name none of them",
    )
    LABELS_OF_ANOTHER = (
        "labels_of_another",
        "labels or texts of another study or report of the patient than the one that was taken",
    )
    BAD_GRADE = "bad_grade", "a grade is not a whole number from 1 to 5"
    UNKNOWN_FILE = "unknown_file", "a file or folder that the layout does not know"
    MISSING_IMAGE = "missing_image", "an image that a table names and that is not there"
    UNREADABLE_IMAGE = "unreadable_image", "an image file that cannot be decoded"
    UNREADABLE_DICOM = "unreadable_dicom", "a DICOM file that cannot be parsed or decoded"
    TOO_LARGE = "too_large", "a file that declares more pixels than any lumbar slice has"
    UNSUPPORTED_PIXELS = "unsupported_pixels", "colour or unusual pixel format"
    UNSUPPORTED_SYNTAX = (
        "unsupported_syntax",
        "compressed in a way that no installed decoder reads: pip install lumbarclip_jax[jpeg]",
    )
    NO_IMAGE = "no_image", "a DICOM object without an image"
    NOT_MR = "not_mr", "an image of another modality than MR"
    REPEATED_IMAGE = "repeated_image", "another copy of an image, or of its place in the series"
    LOCALIZER = "localizer", "a localizer, survey or scout series"
    DERIVED_OR_SECONDARY = "derived_or_secondary", "derived, secondary-capture or screen image"
    BURNED_IN = "burned_in", "marked as having text burned into its pixels"
    OVERLAY = "overlay", "has graphics in unused bits of its pixels"
    DOUBTFUL_OVERLAY = (
        "doubtful_overlay",
        "has graphics beside its pixels: --keep_doubtful takes it",
    )
    DOUBTFUL_ORIGIN = (
        "doubtful_origin",
        "says neither that a scanner made it nor that it is free of text: --keep_doubtful takes it",
    )
    NO_GEOMETRY = (
        "no_geometry",
        "slice position, orientation or pixel spacing is missing or invalid",
    )
    NOT_AXIAL = "not_axial", "a sagittal or coronal series"
    UNKNOWN_SEQUENCE = "unknown_sequence", "neither T1 nor T2 by description, TE and TR"
    SERIES_NOT_CHOSEN = "series_not_chosen", "another series of the same sequence was chosen"
    STUDY_AMBIGUOUS = (
        "study_ambiguous",
        "its report may be that of another study: name --accession_column or --study_column",
    )
    TWO_PERSONS = (
        "two_persons",
        "its patient id is that of two persons, by issuer, birth date or name: "
        "give each one of their own",
    )
    STUDY_NOT_CHOSEN = "study_not_chosen", "a later study of the patient was chosen"
    NO_PATIENT_ID = "no_patient_id", "no patient id, which splits need to keep patients together"
    BAD_LEVEL = "bad_level", f"a level is not one of {', '.join(LEVELS)}"
    NO_DISC_BLOCK = "no_disc_block", "its slices do not form one block for each of three discs"
    DECODER_CRASHED = "decoder_crashed", "a file that made its decoder crash"
    DECODER_TIMEOUT = "decoder_timeout", "a file that takes more than 10 s to decode"
    DECODER_MEMORY = "decoder_memory", "a file that takes more than 1.5 GB to decode"
    NOT_IN_SPLIT_FILE = "not_in_split_file", "its patient is not in the table of splits"
    SPLIT_WITHOUT_IMAGE = "split_without_image", "a patient in the table of splits without a record"


@dataclasses.dataclass(frozen=True, order=True)
class Drop:
    """Something left out.

    `location` says where it is in the source and may hold an identity, so it leaves for the private
    table alone. `detail` is published: compose it of numbers and words of ours, never of the
    source's text.
    """

    location: str
    reason: Reason
    detail: str = ""


class NothingLeft(ValueError):
    """An archive of which everything is left out; `drops` says why."""

    def __init__(self, sentence: str, drops: Iterable[Drop]):
        super().__init__(sentence)
        self.drops = list(drops)

    def listed(self, table: pathlib.Path, pseudonyms: Pseudonyms) -> ValueError:
        """The same with reasons and counts, once all drops are written to a private table."""
        write_private_table(table, self.drops, pseudonyms)
        return ValueError(f"{self}; left out are {in_words(self.drops)}: see {table}")


def count(drops: Iterable[Drop]) -> dict[str, int]:
    """The number of drops by reason, in the order of `Reason`."""
    counts = collections.Counter(drop.reason for drop in drops)
    return {reason.value: counts[reason] for reason in Reason if counts[reason]}


def table(counts: Mapping[str, int]) -> str:
    """`count` as text for people, one reason a line."""
    width = max(map(len, counts), default=0)
    return "\n".join(
        f"  {number:6d}  {code:<{width}}  {Reason(code).meaning}" for code, number in counts.items()
    )


def in_words(drops: Iterable[Drop]) -> str:
    """`count` in a sentence, the most frequent first."""
    counts = sorted(count(drops).items(), key=lambda item: -item[1])
    return "; ".join(f"{number} {code} ({Reason(code).meaning})" for code, number in counts)


def published(drops: Iterable[Drop], pseudonyms: Pseudonyms) -> list[dict[str, str]]:
    """The manifest's rows: each location by pseudonym, in the order of the private table."""
    return [
        {
            "item": pseudonyms("item", drop.location),
            "reason": drop.reason.value,
            "detail": drop.detail,
        }
        for drop in sorted(drops)
    ]


def write_private_table(path: pathlib.Path, drops: Iterable[Drop], pseudonyms: Pseudonyms) -> None:
    """Writes a CSV that resolves every `item` of the manifest to its place in the source."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["item", "reason", "detail", "location"])
    for drop in sorted(drops):
        item = pseudonyms("item", drop.location)
        writer.writerow([item, drop.reason.value, drop.detail, drop.location])
    write_whole(path, table.getvalue().encode("utf-8", "surrogateescape"), private=True)
