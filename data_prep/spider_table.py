"""Writes the table of `--source=table` from SPIDER's published gradings, one row an image.

    python -m data_prep.spider_table --images=DIR --out=spider.csv

For a SPIDER folder whose slices are pictures (``images/<patient>_<t1|t2|t2_SPACE>.png``) as for one
of its volumes. Of labels there are

- ``pfirrmann_l3_l4``, ``pfirrmann_l4_l5``, ``pfirrmann_l5_s1`` and, of the three,
  ``worst_pfirrmann``, for patients with a T2 alone, on which the grades are defined;
- ``herniation``, ``narrowing``, ``bulging`` and ``vertebral_slip`` (spondylolisthesis, whose name
  every data set has a task of): at one of these three discs, or at none that was graded;
- ``modic``: the highest type, 0 to 3, at the three;
- ``lbp``: any finding, which is what the authors of LumbarCLIP call low back pain here: a Modic
  change, an endplate change, spondylolisthesis, herniation, narrowing or bulging at any graded
  disc. Pfirrmann grades are no findings.

A patient without any grade of a column has an empty cell.
"""

import collections
import csv
import io
import pathlib
import re
from collections.abc import Mapping

from absl import flags

from data_prep import cli
from data_prep.images import pixels, volume
from data_prep.process.files import write_whole
from data_prep.records import drops, schema
from data_prep.records.drops import Drop, Reason
from data_prep.sources import spider

NAME = re.compile(r"([0-9]+)_(t1|t2|t2_space)\.\w+", re.IGNORECASE)
PRESENT_AT = {
    "herniation": "Disc herniation",
    "narrowing": "Disc narrowing",
    "bulging": "Disc bulging",
    "vertebral_slip": "Spondylolisthesis",
}
PFIRRMANN = {f"pfirrmann_{level.lower().replace('-', '_')}": level for level in schema.LEVELS}
LABELS = (*PFIRRMANN, "worst_pfirrmann", *PRESENT_AT, "modic", "lbp")
COLUMNS = ("path", "patient", "plane", "sequence", *LABELS)


def rows_of(root: pathlib.Path) -> tuple[list[dict[str, object]], list[Drop]]:
    """The rows of the table, one an image of a graded patient, and what was left out.

    Raises:
      FileNotFoundError: there is no folder of images, or no table of gradings.
      ValueError: the table of gradings lacks a column.
    """
    if not (root / "images").is_dir():
        raise FileNotFoundError(f"there is no folder {root / 'images'}: correct --images")
    discs, left_out = spider.read_gradings(root / spider.GRADINGS_FILE)
    images: dict[str, list[tuple[str, str]]] = {}
    for path in sorted((root / "images").iterdir()):
        match = NAME.fullmatch(path.name)
        place = f"images/{path.name}"
        patient = spider.patient_key(match[1]) if match else None
        if match is None or not (pixels.is_picture(path) or volume.is_volume(path)):
            left_out.append(Drop(place, Reason.UNKNOWN_FILE))
        elif patient not in discs:
            left_out.append(Drop(place, Reason.IMAGE_WITHOUT_REPORT))
        else:
            images.setdefault(patient, []).append((place, match[2][:2].upper()))
    rows = []
    for patient, found in images.items():
        labels = labels_of(discs[patient], with_t2="T2" in {sequence for _, sequence in found})
        for place, sequence in found:
            image = {"path": place, "patient": patient, "plane": "sagittal", "sequence": sequence}
            rows.append(image | labels)
    return rows, left_out


def labels_of(discs: Mapping[str, spider.Disc], *, with_t2: bool) -> dict[str, object]:
    """The labels of a patient, "" where nothing was graded.

    Args:
      discs: level -> column of the gradings -> grade.
      with_t2: whether Pfirrmann's grades are defined.
    """
    lowest = [discs[level] for level in schema.LEVELS if level in discs]

    def highest(column: str, of: list[spider.Disc]) -> object:
        return max((disc[column] for disc in of if column in disc), default="")

    findings = [highest(column, list(discs.values())) for column in (*spider.GRADED, "Modic")]
    said = [bool(grade) for grade in findings if grade != ""]
    labels: dict[str, object] = {
        name: discs.get(level, {}).get(spider.PFIRRMANN_COLUMN, "")
        for name, level in PFIRRMANN.items()
    }
    labels["worst_pfirrmann"] = highest(spider.PFIRRMANN_COLUMN, lowest)
    if not with_t2:
        labels = dict.fromkeys(labels, "")
    labels |= {name: highest(column, lowest) for name, column in PRESENT_AT.items()}
    return labels | {"modic": highest("Modic", lowest), "lbp": int(any(said)) if said else ""}


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    rows, left_out = rows_of(pathlib.Path(options.images))
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(pathlib.Path(options.out), file.getvalue().encode())
    counts = collections.Counter(row["sequence"] for row in rows)
    shown = ", ".join(f"{count} {sequence}" for sequence, count in sorted(counts.items()))
    print(f"{len(rows)} images ({shown}) of {len({row['patient'] for row in rows})} patients")
    if left_out:
        print(f"left out:\n{drops.table(drops.count(left_out))}")
    print(f"the table is {options.out}: give it as --source=table --reports")


if __name__ == "__main__":
    flags.DEFINE_string("images", None, "SPIDER folder, with images/ and its table of gradings")
    flags.DEFINE_string("out", None, "table to write, .csv")
    flags.mark_flags_as_required(["images", "out"])
    cli.run(main)
