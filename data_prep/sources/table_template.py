"""An example of the table of `--source=table`, to be filled in."""

import csv
import io
import pathlib

from data_prep.process.files import write_whole
from data_prep.sources.table_rows import COLUMNS, COMMENT

# Columns of one's own, as they may be.
FURTHER = {
    "report_impression": "a further text of the image; any number of columns report_...",
    "back_pain": "a label: 0 or 1, -1 for uncertain, empty for none; any number of columns",
    "worst_grade": "a label: whole numbers are ordered grades, words are classes",
}
EXAMPLES = (
    {"path": "p1/t2.png", "patient": "P1", "sequence": "T2", "report": "Disc bulge at L4-L5."},
    {"path": "p2/t2.nii.gz", "patient": "P2", "plane": "sagittal", "sequence": "T2", "slice": "7"},
    {"path": "p3/l45.dcm", "patient": "P3", "study": "2024", "level": "L4/5"},
)
LABELS = ({"back_pain": "1", "worst_grade": "3"}, {"back_pain": "0", "worst_grade": "1"}, {})


def write_template(path: pathlib.Path) -> None:
    """Writes the header, a row of comments that says what each column holds, and three examples.

    Raises:
      ValueError: it is called otherwise than .csv, or there is such a file.
      OSError: it cannot be written.
    """
    if path.suffix.lower() != ".csv" or path.exists():
        raise ValueError(f"--make_template writes a new file: {path} is there or is no .csv")
    columns = COLUMNS | FURTHER
    told = columns | {"path": f"{COMMENT} a comment; {columns['path']}"}
    examples = [one | labels for one, labels in zip(EXAMPLES, LABELS, strict=True)]
    file = io.StringIO()
    writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows([told, *examples])
    write_whole(path, file.getvalue().encode())
