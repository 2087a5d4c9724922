"""Tables as people keep them: .csv, .parquet or the first sheet of an .xlsx, all cells as text."""

import dataclasses
import datetime
import decimal
import math
import pathlib
import re
import unicodedata
from collections.abc import Mapping

from data_prep.tables import formats

# Words that name columns. Others may be what a table without a header has in its first row.
HEADER_WORD = re.compile(
    r"""
    a|acc|accession|acquisition|age|anon|birth|body|case|clinical|clinician|
    clinicians|code|comment|comments|conclusion|condition|content|d|d1|d2|d3|d4|
    d5|data|date|day|description|diagnosis|disc|dob|doctor|exam|examination|
    examined|file|filename|finding|findings|folder|for|gender|grade|grades|height|
    hospital|id|identifier|ids|image|images|impression|index|instance|key|l1|l2|
    l3|l4|l5|label|labels|level|levels|modality|month|mr|mri|mrn|name|no|note|
    notes|num|number|of|opinion|order|part|pat|path|patient|patients|pfirrmann|
    physician|protocol|pseudonym|radiologist|radiologists|record|ref|referral|
    referring|region|remark|remarks|report|reports|result|results|row|s|s1|scan|
    section|sequence|series|sex|side|site|slice|slices|source|spine|split|status|
    studies|study|subject|summary|t1|t2|technique|text|texts|the|time|title|type|
    uid|uids|value|view|visit|weight|year
    """,
    re.VERBOSE,
)


# What pandas, databases and people write where there is nothing, without its punctuation.
NOTHING = re.compile(
    "|nan|na|nana|nat|none|null|nil|1ind|1qnan|undefined|notavailable|notapplicable"
)
# #VALUE!, #REF!, #NAME? and the rest, in any language.
ERROR_VALUE = re.compile(r"#\S*[!?]|#NV|#GETTING_DATA", re.IGNORECASE)
# A spreadsheet keeps 15 digits of a number, and shows 12 or more as 1.23457E+11.
MAX_EXACT = 10**15
SHORTENED = re.compile(r"[0-9](?:\.[0-9]+)?E\+(?:1[1-9]|[2-9][0-9])", re.IGNORECASE)

# Why a cell is not what was once written into it, and what to do.
CUT_SHORT = (
    "ends before the column {name!r}: put quotes around texts that hold line breaks, or add the "
    "missing separators"
)
A_DATE = "has a date or time in the column {name!r}: format the column as text and correct it"
ROUNDED = (
    "has a number in the column {name!r} that is too long for a spreadsheet to keep: format the "
    "column as text and correct it"
)
NO_TEXT = "has bytes in the column {name!r} that are not UTF-8: save the column as text"
NESTED = "has a list or a structure in the column {name!r}: save the column as text"


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a spreadsheet.

    `columns` are the names of the header and `rows` the rows below that are not empty, as (row
    number as a spreadsheet shows it, cells). `spoilt` maps the index of a column to the first row
    with a cell that cannot be taken as it is, and why.
    """

    path: pathlib.Path
    option: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]
    spoilt: Mapping[int, tuple[int, str]]

    def column(self, name: str, *, option: str = "") -> int:
        """The index of a column.

        A name is meant exactly or, where no column has it, up to case, spaces, punctuation and
        apostrophes.

        Args:
          name: of the column.
          option: the option that gives the name, when it is not the layout's own.

        Raises:
          ValueError: there is no such column or more than one, or a cell of it was spoilt.
        """
        option = option or self.option
        found = [index for index, column in enumerate(self.columns) if column == name.strip()]
        if not found and _plain(name):
            plain = [_plain(column) for column in self.columns]
            found = [index for index, column in enumerate(plain) if column == _plain(name)]
        if not found:
            sheet = " in its first visible sheet" if self.path.suffix.lower() == ".xlsx" else ""
            raise ValueError(
                f"{self.path} has no column {name!r}{sheet} (found: {self.shown_columns()}): "
                f"rename the column or correct {option}"
            )
        if len(found) > 1:
            names = ", ".join(repr(self.columns[index]) for index in found)
            raise ValueError(
                f"{self.path} has {len(found)} columns that could be {name!r} ({names}): rename "
                f"them, so that one alone has exactly the name in {option}"
            )
        if found[0] in self.spoilt:
            row, why = self.spoilt[found[0]]
            raise ValueError(f"{self.path} row {row} {why.format(name=name)}")
        return found[0]

    def has(self, name: str) -> bool:
        """Whether there is a column of this name."""
        return _plain(name) in map(_plain, self.columns)

    def shown_columns(self) -> str:
        """The names of the columns, for a message; those that could be a person's are not shown.

        The first row of a table without a header is a patient.
        """
        shown = [
            column
            for column in self.columns
            if all(map(HEADER_WORD.fullmatch, re.findall(r"[^\W_]+", column.lower())))
        ]
        hidden = len(self.columns) - len(shown)
        names = [repr(column) for column in shown if column]
        if hidden:
            names.append(f"{hidden} not shown, is the first row the header?")
        return ", ".join(names)


def read_table(path: pathlib.Path, *, option: str) -> Table:
    """Reads a .csv, a .parquet or the first visible sheet of an .xlsx, every cell as text.

    The first row that is not empty is the header.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it cannot be read as a table; the sentence names `option`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: correct {option}")
    readers = {
        ".xlsx": formats.xlsx_rows,
        ".csv": formats.csv_rows,
        ".parquet": formats.parquet_rows,
    }
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is neither .xlsx nor .csv nor .parquet: save it as one of these")
    header: tuple[str, ...] = ()
    rows = []
    spoilt: dict[int, tuple[int, str]] = {}
    for number, cells in readers[path.suffix.lower()](path):
        texts = tuple(map(_cell_text, cells))
        if not any(text.strip() for text in texts):
            continue
        if not header:
            header = tuple(text.strip() for text in texts)
            continue
        width = len(header)
        for index, cell in enumerate(cells[:width]):
            if why := _why_spoilt(cell):
                spoilt.setdefault(index, (number, why))
        for index in range(len(cells), width):
            spoilt.setdefault(index, (number, CUT_SHORT))
        rows.append((number, texts[:width] + ("",) * (width - len(texts))))
    if not header:
        raise ValueError(f"{path} is an empty table: correct {option}")
    return Table(path, option, header, tuple(rows), spoilt)


def is_blank(cell: str) -> bool:
    """Whether a cell says nothing: empty, punctuation alone, NA, None, #VALUE! and the like."""
    plain = re.sub(r"[\W_]+", "", cell).casefold()
    return bool(NOTHING.fullmatch(plain) or ERROR_VALUE.fullmatch(cell.strip()))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", name)).casefold()


def _cell_text(cell: object) -> str:
    if isinstance(cell, bytes):
        # Impala and Hive mark no column as text.
        return cell.decode("utf-8", "replace")
    if isinstance(cell, float) and math.isnan(cell):
        return ""
    # A spreadsheet stores every number as a float: patient 18 arrives as 18.0.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, decimal.Decimal):
        return re.sub(r"\.?0+$", "", f"{cell:f}") if "." in f"{cell:f}" else f"{cell:f}"
    return "" if cell is None else str(cell)


def _why_spoilt(cell: object) -> str:
    if isinstance(cell, str):
        return ROUNDED if SHORTENED.fullmatch(cell.strip()) else ""
    if isinstance(cell, float):
        return ROUNDED if abs(cell) >= MAX_EXACT else ""
    if isinstance(cell, datetime.date | datetime.time | datetime.timedelta):
        return A_DATE
    if isinstance(cell, bytes):
        return NO_TEXT if cell.decode("utf-8", "replace").encode() != cell else ""
    return NESTED if isinstance(cell, list) else ""
