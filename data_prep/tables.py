"""Tables as people keep them: .csv, .parquet or the first sheet of an .xlsx, all cells as text."""

import csv
import dataclasses
import pathlib
import re
import zipfile
from collections.abc import Iterator
from typing import TextIO

import python_calamine

# An xlsx is a zip of XML: under a megabyte can unpack to gigabytes, and no reader stops it.
MAX_UNPACKED_BYTES = 256 * 2**20
MAX_UNPACK_RATIO = 100
MAX_LINE = 2**20

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


@dataclasses.dataclass(frozen=True)
class Table:
    """The rows of a spreadsheet: `columns` by name and `rows` as (row number, cells)."""

    path: pathlib.Path
    option: str
    columns: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def column(self, name: str, *, option: str = "") -> int:
        """The index of a column; case, spaces, punctuation and apostrophes do not matter.

        Args:
          name: of the column.
          option: the option that gives the name, when it is not the layout's own.

        Raises:
          ValueError: there is no such column.
        """
        names = [_plain(column) for column in self.columns]
        if _plain(name) not in names:
            raise ValueError(
                f"{self.path} has no column {name!r} (found: {self.shown_columns()}): "
                f"rename the column or correct {option or self.option}"
            )
        return names.index(_plain(name))

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
    """Reads a .csv, a .parquet or the first sheet of an .xlsx, every cell as text.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it cannot be read as a table; the sentence names `option`.
    """
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}: correct {option}")
    readers = {".xlsx": _xlsx_rows, ".csv": _csv_rows, ".parquet": _parquet_rows}
    if path.suffix.lower() not in readers:
        raise ValueError(f"{path} is neither .xlsx nor .csv nor .parquet: save it as one of these")
    rows = list(readers[path.suffix.lower()](path))
    if not rows:
        raise ValueError(f"{path} is an empty table: correct {option}")
    header = tuple(cell.strip() for cell in rows[0])
    width = len(header)
    body = tuple(
        # Row 1 is the header, as spreadsheets count.
        (number, tuple(row[:width]) + ("",) * (width - len(row)))
        for number, row in enumerate(rows[1:], start=2)
    )
    return Table(path, option, header, body)


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _xlsx_rows(path: pathlib.Path) -> Iterator[list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        packed = max(1, sum(entry.compress_size for entry in entries))
        if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_UNPACK_RATIO * packed + 2**20:
            raise ValueError(
                f"{path} unpacks to {unpacked / 2**20:.0f} MB, far more than a report table: "
                "save it again, or as .csv"
            )
        rows = python_calamine.CalamineWorkbook.from_path(path).get_sheet_by_index(0).to_python()
    except (zipfile.BadZipFile, python_calamine.CalamineError, OSError) as error:
        raise ValueError(f"{path} is not a readable .xlsx file: save it again") from error
    for row in rows:
        yield [_cell_text(cell) for cell in row]


def _cell_text(cell: object) -> str:
    # A spreadsheet stores every number as a float: patient 18 arrives as 18.0.
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return "" if cell is None else str(cell)


def _csv_rows(path: pathlib.Path) -> Iterator[list[str]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            # Spreadsheets of half of Europe separate by semicolons.
            first_line = file.readline(MAX_LINE)
            file.seek(0)
            delimiter = max(",;\t", key=first_line.count)
            yield from csv.reader(_lines(path, file), delimiter=delimiter, strict=True)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: save it again as such") from error


def _lines(path: pathlib.Path, file: TextIO) -> Iterator[str]:
    """The lines of a file; one without end would be held whole, and again by the reader."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(
                f"{path} has a line of more than {MAX_LINE / 2**20:.0f} MB: save it again as CSV"
            )
        yield line


def _parquet_rows(path: pathlib.Path) -> Iterator[list[str]]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            f"{path} needs pyarrow: pip install lumbarclip_jax[parquet], or save it as .csv"
        ) from None
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            groups = range(file.metadata.num_row_groups)
            unpacked = sum(file.metadata.row_group(group).total_byte_size for group in groups)
            if unpacked > MAX_UNPACKED_BYTES:
                raise ValueError(
                    f"{path} unpacks to {unpacked / 2**20:.0f} MB, far more than a report table: "
                    "save only the columns that are needed"
                )
            columns = file.read().to_pydict()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable .parquet file: save it again") from error
    yield list(columns)
    for cells in zip(*columns.values(), strict=True):
        yield [_cell_text(cell) for cell in cells]
