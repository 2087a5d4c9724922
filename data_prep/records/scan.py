"""What a source is asked, and what it found: the images to use and everything it left out."""

import dataclasses
import pathlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field

from data_prep.records.drops import Drop
from data_prep.records.labels import Findings
from data_prep.records.pairing import Record
from data_prep.records.tasks import NO_TASKS, TaskLabels
from data_prep.records.texts import TextRow

LEVEL_METHODS = ("auto", "blocks", "table", "column")


@dataclasses.dataclass(frozen=True)
class Columns:
    """Names of the columns of a user's own report table, by what they hold; "" where not used."""

    patient: str = field(default="", metadata={"holds": "patient ids"})
    study: str = field(default="", metadata={"holds": "study instance UIDs"})
    accession: str = field(default="", metadata={"holds": "accession numbers"})
    report: str = field(default="", metadata={"holds": "report texts"})
    image: str = field(
        default="",
        metadata={"holds": "images: path below --images or SOP instance UID, for --level_column"},
    )
    level: str = field(default="", metadata={"holds": "the disc level of these images"})


NO_COLUMNS = Columns()


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a source is asked to read; the flags of the command say the same."""

    images_dir: pathlib.Path
    reports_file: pathlib.Path | None = None
    columns: Columns = NO_COLUMNS
    levels: str = "auto"
    slice_tables: pathlib.Path | None = None
    keep_doubtful: bool = False
    workers: int = 1

    @property
    def reports(self) -> pathlib.Path:
        """`reports_file`, of a source that cannot do without.

        Raises:
          ValueError: it was not given.
        """
        if self.reports_file is None:
            raise ValueError("--reports is missing: say where the reports are")
        return self.reports_file


@dataclasses.dataclass(frozen=True)
class ImageRef:
    """One image to convert. `path` is relative to the images folder; `sha256` is of the file.

    `series` is the source's id of its series, and `frame` its place in a file of several images.
    `picture_mm` is the pixel size of a picture, whose file holds none; 0 where it is not known.
    """

    patient: str
    study: str
    level: str
    plane: str
    sequence: str
    path: str
    sha256: str
    series: str = ""
    frame: int = 0
    picture_mm: float = 0.0

    @property
    def place(self) -> str:
        """What tells it from all others of the source."""
        return f"{self.path}\0{self.frame}" if self.frame else self.path


@dataclasses.dataclass(frozen=True)
class Scan:
    """The outcome of looking through an images folder; `form` names the layout found.

    `reports` holds the texts (patient -> text) of a source that reads its reports itself, or that
    has none and makes them from its grades, for the patients that are `templated`; it is None where
    they are read from a table of one row a patient. `findings` and `grades` are what the source's
    grades say.
    `tasks` and `texts` are labels and further texts of a table that has them in its columns, and
    `splits` (patient -> split) what it prescribes, if it does. `pictures` says how those of unknown
    pixel size are stored, see `images.pixels.Rendering`.
    `records` tells whose study and report a patient's records hold, where patients may have
    several. `identities` holds what the headers of each patient say of persons, to be taken out of
    the report: it is for memory alone, never for a file, a log or a message.
    """

    form: str
    images: list[ImageRef]
    drops: list[Drop]
    reports: dict[str, str] | None = None
    templated: Collection[str] = frozenset()
    findings: Mapping[str, Findings] = dataclasses.field(default_factory=dict)
    grades: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    tasks: TaskLabels = NO_TASKS
    texts: Sequence[TextRow] = ()
    splits: Mapping[str, str] | None = None
    pictures: str = "as_they_lie"
    records: Mapping[str, Record] = dataclasses.field(default_factory=dict)
    identities: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict, repr=False)
