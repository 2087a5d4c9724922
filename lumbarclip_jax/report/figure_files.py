"""The figures of a page as files for a paper: SVG and PDF to print, CSV with the numbers in them.

They lie in `figures/` of the run and hold curves, counts and points, no report text and no image.
The receipt of a run does not list them: they are drawn from the files that it lists, and drawn
again, all of them, with the page.
"""

import collections
import csv
import io
import math
import pathlib
import re
from collections.abc import Iterable

import matplotlib

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax.report.figures import Drawn

FOLDER = "figures"
SUFFIXES = (".svg", ".pdf", ".csv")

# Text that can be edited and searched, in the TrueType that journals ask for, and the same bytes
# whenever the same figure is drawn.
STYLE = {"svg.fonttype": "none", "pdf.fonttype": 42, "svg.hashsalt": "lumbarclip_jax"}
UNDATED = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


def save_figures(drawn: Iterable[Drawn], folder: pathlib.Path) -> None:
    """Writes NAME.svg, NAME.pdf and NAME.csv of every figure; what was there of these goes.

    Args:
      drawn: figures; of two of one name the second is called NAME_2.
      folder: of the run.

    Raises:
      OSError: a file cannot be written.
    """
    folder = folder / FOLDER
    with disk_errors_name(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            # A figure of an earlier page would be taken for one of this.
            if path.suffix in SUFFIXES:
                path.unlink()
    times = collections.Counter()
    for one in drawn:
        name = file_name(one.name)
        times[name] += 1
        stem = name if times[name] == 1 else f"{name}_{times[name]}"
        for kind, metadata in UNDATED.items():
            content = io.BytesIO()
            with matplotlib.rc_context(STYLE):
                one.figure.savefig(content, format=kind, metadata=metadata)
            write_whole(folder / f"{stem}.{kind}", content.getvalue())
        write_whole(folder / f"{stem}.csv", _csv(one).encode())


def file_name(name: str) -> str:
    """`Linear probe, by patient` as `linear_probe_by_patient`: names may come from outside."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:100]


def _csv(drawn: Drawn) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    rows = (drawn.numbers.columns, *drawn.numbers.rows)
    writer.writerows([_written(value) for value in row] for row in rows)
    return text.getvalue()


def _written(value) -> str:
    """Six digits of a number, nothing for one that is not defined; no cell is a formula."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(("=", "+", "-", "@")) else value
    if value is None or math.isnan(value):
        return ""
    return f"{value:.6g}"
