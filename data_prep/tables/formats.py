"""The formats that tables come in, each as rows of cells: .csv, .xlsx and .parquet."""

import csv
import datetime
import io
import pathlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from typing import TextIO

import python_calamine

# An xlsx is a zip of XML: under a megabyte can unpack to gigabytes, and no reader stops it.
MAX_UNPACKED_BYTES = 256 * 2**20
MAX_UNPACK_RATIO = 100
# The reader holds a sheet as a full rectangle: one word in its last corner would be 17 billion.
MAX_CELLS = 2**24
MAX_LINE = 2**20

# What Excel writes above a table, and hides again, to say how its cells are separated.
SEPARATOR_LINE = re.compile(r"sep=(.)(?:\r\n?|\n)", re.IGNORECASE)
# Exporters write an empty cell as a shared string without a number; calamine reads the first one.
EMPTY_SHARED_STRING = re.compile(
    rb"""(<(?:\w+:)?c\b[^>]*?)\st=["']s["']([^>]*>\s*<(?:\w+:)?v\b[^>]*?(?:/>|></))"""
)
FILLED_CELL = re.compile(rb"""<(?:\w+:)?c\s(?:[^>]*?\s)?r=["']([A-Z]+)([0-9]+)["'][^>]*(?<!/)>""")

Row = tuple[int, Sequence[object]]  # the number that a spreadsheet shows, and the cells


def csv_rows(path: pathlib.Path) -> Iterator[Row]:
    """The rows of a file of separated values in UTF-8.

    Raises:
      ValueError: it is none; a row has more cells than the header, the first row that is not empty.
    """
    width = 0
    number = 0
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(_lines(path, file), delimiter=_delimiter(file), strict=True)
            for number, cells in enumerate(reader, start=1):
                named = [i for i, cell in enumerate(cells, start=1) if cell.strip()]
                if named and not width:
                    width = named[-1]
                elif named and named[-1] > width:
                    raise ValueError(
                        f"{path} row {number} has more cells than the header, the first row: put "
                        "quotes around texts that hold the separator, or delete what is above it"
                    )
                yield number, cells
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a CSV table in UTF-8: save it again as such") from error
    except csv.Error as error:
        raise ValueError(
            f"{path} row {number + 1} is no row of CSV: write a quote inside a quoted text twice, "
            "or save the table again as CSV"
        ) from error


def _delimiter(file: TextIO) -> str:
    """What separates the cells; the file is then at the first row."""
    start = file.read(MAX_LINE)
    file.seek(0)
    if said := SEPARATOR_LINE.match(start):
        file.readline()
        return said[1]
    unquoted = re.sub(r'"[^"]*(?:"|$)', "", start)
    header = re.split(r"[\r\n]", unquoted.lstrip("\r\n"), maxsplit=1)[0]
    # Spreadsheets of half of Europe separate by semicolons.
    return max(",;\t|", key=header.count)


def _lines(path: pathlib.Path, file: TextIO) -> Iterator[str]:
    """The lines of a file; one without end would be held whole, and again by the reader."""
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise ValueError(
                f"{path} has a line of more than {MAX_LINE / 2**20:.0f} MB: save it again as CSV"
            )
        yield line


def xlsx_rows(path: pathlib.Path) -> Iterator[Row]:
    """The rows of the first visible sheet; formulas without a stored value and errors are empty.

    Raises:
      ValueError: it is no workbook, or would take more memory than any table of reports.
    """
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(_checked(path))
        sheet = workbook.get_sheet_by_name(visible_sheets(workbook)[0])
        rows = sheet.to_python()
    except (
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,  # packed in a way that zipfile cannot unpack
        RuntimeError,  # encrypted
        IndexError,
        python_calamine.CalamineError,
        OSError,
    ) as error:
        raise ValueError(f"{path} is not a readable .xlsx file: save it again") from error
    first = sheet.start[0] + 1 if sheet.start and rows else 1
    yield from enumerate(rows, start=first)


def visible_sheets(workbook: python_calamine.CalamineWorkbook) -> list[str]:
    """The names of the sheets that a spreadsheet program shows, in its order."""
    return [
        sheet.name
        for sheet in workbook.sheets_metadata
        if sheet.visible == python_calamine.SheetVisibleEnum.Visible
        and sheet.typ == python_calamine.SheetTypeEnum.WorkSheet
    ]


def _checked(path: pathlib.Path) -> io.BytesIO:
    """A workbook that is safe to open, without shared strings that calamine would misread."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        unpacked = sum(entry.file_size for entry in entries)
        packed = max(1, sum(entry.compress_size for entry in entries))
        if unpacked > MAX_UNPACKED_BYTES or unpacked > MAX_UNPACK_RATIO * packed + 2**20:
            raise ValueError(
                f"{path} unpacks to {unpacked / 2**20:.0f} MB, far more than a report table: "
                "save it again, or as .csv"
            )
        mended = {}
        for entry in entries:
            if re.search(r"worksheets[/\\][^/\\]+\.xml$", entry.filename, re.IGNORECASE):
                sheet = archive.read(entry)
                _check_extent(path, sheet)
                whole, count = EMPTY_SHARED_STRING.subn(rb"\1\2", sheet)
                if count:
                    mended[entry.filename] = whole
        if not mended:
            return io.BytesIO(path.read_bytes())
        copy = io.BytesIO()
        with zipfile.ZipFile(copy, "w") as target:
            for entry in entries:
                target.writestr(entry.filename, mended.get(entry.filename) or archive.read(entry))
    copy.seek(0)
    return copy


def _check_extent(path: pathlib.Path, sheet: bytes) -> None:
    width = height = 1
    for column, row in FILLED_CELL.findall(sheet):
        number = 0
        for letter in column:
            number = 26 * number + letter - ord("A") + 1
        width, height = max(width, number), max(height, int(row))
    if width * height > MAX_CELLS:
        raise ValueError(
            f"{path} has a sheet of {height} rows and {width} columns, far more than a report "
            "table: delete what stands far from the table, or save it as .csv"
        )


def parquet_rows(path: pathlib.Path) -> Iterator[Row]:
    """The rows below the names of the columns, which are row 1.

    Raises:
      ValueError: it is no Parquet file, unpacks to more than any table of reports, or pyarrow is
        not installed.
    """
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
            table = file.read()
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"{path} is not a readable .parquet file: save it again") from error
    yield 1, table.column_names
    columns = []
    for column in table.columns:
        # Neither is read, and nanoseconds could not be: what stands for them says what they are.
        stands_for = None
        if pyarrow.types.is_temporal(column.type):
            stands_for = datetime.date.min
        elif pyarrow.types.is_nested(column.type):
            stands_for = []
        if stands_for is None:
            columns.append(column.to_pylist())
        else:
            valid = column.is_valid().to_pylist()
            columns.append([stands_for if is_valid else None for is_valid in valid])
    yield from enumerate(zip(*columns, strict=True), start=2)
