"""Builds a data set: images and reports in, a TFDS folder, manifest and vocabulary out.

    python -m data_prep.build --images DIR --reports FILE --out DIR

The story is scan -> plan -> convert_shard -> commit. Everything is written to a hidden folder
beside ``--out``, which takes that name when the data set is whole.
"""

import os
import pathlib
import shutil
import sys
from collections.abc import Sequence

from absl import app, flags, logging

from data_prep import commit as commit_lib
from data_prep import drops as drops_lib
from data_prep import labels, splits
from data_prep.drops import Drop
from data_prep.errors import InputError
from data_prep.identity import Pseudonyms, load_or_create_key
from data_prep.parallel import ordered_map
from data_prep.plan import Labels, Plan, make_plan
from data_prep.reports import read_reports
from data_prep.shards import ShardPlan, convert_shard
from data_prep.sources import SOURCES

DEFAULT_SPLITS = "train=0.7,validation=0.1,test=0.2"
MAX_SIZE_PX = 2048


def build(
    images_dir: pathlib.Path,
    reports_file: pathlib.Path,
    out_dir: pathlib.Path,
    *,
    source: str = "mendeley",
    grades_file: pathlib.Path | None = None,
    findings_file: pathlib.Path | None = None,
    split_shares: str = DEFAULT_SPLITS,
    seed: int = 0,
    key_file: pathlib.Path | None = None,
    size_px: int = 320,
    shard_records: int = 256,
    workers: int = 1,
    overwrite: bool = False,
) -> dict:
    """Builds a data set folder; the arguments are the flags of the command.

    The same inputs, seed and key give the same bytes with any number of workers. An `out_dir` that
    already holds this very build is left as it is.

    Returns:
      The manifest.

    Raises:
      FileNotFoundError: an input is missing.
      InputError: an input or option is wrong, or `out_dir` holds something else.
      OSError: the output cannot be written.
    """
    out_dir = pathlib.Path(os.path.abspath(out_dir))
    key_file = pathlib.Path(key_file or f"{out_dir}.key")
    shares = splits.parse(split_shares)
    _check_options(source, out_dir, key_file, size_px, shard_records, workers, overwrite)

    origin = SOURCES[source]
    reports, report_drops = read_reports(
        reports_file,
        patient_column=origin.PATIENT_COLUMN,
        report_column=origin.REPORT_COLUMN,
        patient_key=origin.patient_key,
    )
    grades, grade_drops = origin.read_grades(grades_file) if grades_file else ({}, [])
    findings = (
        labels.read_findings(findings_file, patient_key=origin.patient_key) if findings_file else {}
    )
    scan = origin.scan(images_dir, workers)
    print(f"reading {scan.form}")

    pseudonyms = Pseudonyms(load_or_create_key(key_file))
    plan = make_plan(
        scan.images,
        reports,
        Labels(findings, grades),
        [*scan.drops, *report_drops, *grade_drops],
        shares=shares,
        seed=seed,
        pseudonyms=pseudonyms,
        size_px=size_px,
        shard_records=shard_records,
    )
    existing = commit_lib.read_manifest(out_dir)
    if existing and existing.get("plan") == plan.digest:
        print(f"{out_dir} already holds this data set")
        return existing
    if existing and not overwrite:
        raise InputError(
            f"{out_dir} holds another data set: add --overwrite or choose another --out"
        )

    provenance = {
        "source": f"{source}: {scan.form}",
        "plan": plan.digest,
        "seed": seed,
        "findings_source": "labels read from the reports" if findings_file else "none",
        "grades_source": "Pfirrmann grades read from the images" if grades_file else "none",
    }
    manifest, drops = _write(plan, images_dir, out_dir, provenance, size_px, workers, pseudonyms)
    drops_lib.write_private_table(pathlib.Path(f"{out_dir}.dropped.csv"), drops, pseudonyms)
    _print_summary(manifest, out_dir, drops)
    return manifest


def _check_options(
    source: str,
    out_dir: pathlib.Path,
    key_file: pathlib.Path,
    size_px: int,
    shard_records: int,
    workers: int,
    overwrite: bool,
) -> None:
    if source not in SOURCES:
        raise InputError(f"--source {source!r} is unknown: choose one of {', '.join(SOURCES)}")
    for name, value, limit in (
        ("size_px", size_px, MAX_SIZE_PX),
        ("shard_records", shard_records, 10**6),
        ("workers", workers, 1024),
    ):
        if not 1 <= value <= limit:
            raise InputError(f"--{name} is {value}: choose a number from 1 to {limit}")
    if out_dir in pathlib.Path(os.path.abspath(key_file)).parents:
        raise InputError(f"the key file {key_file} is inside --out, with the data: move it out")
    if out_dir.exists() and commit_lib.read_manifest(out_dir) is None:
        raise InputError(f"{out_dir} exists and is no data set of ours: choose another --out")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(out_dir.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise InputError(f"{out_dir.parent} cannot be written: choose another --out")


def _write(
    plan: Plan,
    images_dir: pathlib.Path,
    out_dir: pathlib.Path,
    provenance: dict,
    size_px: int,
    workers: int,
    pseudonyms: Pseudonyms,
) -> tuple[dict, list[Drop]]:
    """Converts and commits in a hidden folder, then puts it in place of `out_dir`."""
    partial = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        tasks = [
            ShardPlan(images_dir, partial / f"{split}-{index:05d}", split, size_px, rows)
            for split, shards in plan.shards.items()
            for index, rows in enumerate(shards)
        ]
        shards = list(ordered_map(convert_shard, tasks, workers=workers, label="writing shards"))
        drops = sorted([*plan.drops, *(drop for shard in shards for drop in shard.drops)])
        empty = [shard for shard in shards if not shard.rows]
        for shard in empty:
            shard.path.unlink()
        if len(empty) == len(shards):
            raise InputError(f"no image of {images_dir} can be decoded:\n{drops_lib.table(drops)}")
        manifest = commit_lib.commit(
            partial,
            [shard for shard in shards if shard.rows],
            drops,
            provenance,
            size_px=size_px,
            pseudonyms=pseudonyms,
        )
        if out_dir.exists():
            replaced = partial.with_suffix(".replaced")
            out_dir.rename(replaced)
            partial.rename(out_dir)
            shutil.rmtree(replaced)
        else:
            partial.rename(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest, drops


def _print_summary(manifest: dict, out_dir: pathlib.Path, drops: Sequence[Drop]) -> None:
    for split, counts in manifest["splits"].items():
        print(
            f"{split}: {counts['images']} images of {counts['patients']} patients, "
            f"{counts['report_groups']} different reports"
        )
    if drops:
        print(f"left out ({out_dir}.dropped.csv says where each is):\n{drops_lib.table(drops)}")
    print(f"wrote {out_dir}")


def _define_flags() -> None:
    # Defined by the command alone: a program that imports `build` has flags of its own.
    flags.DEFINE_enum("source", "mendeley", sorted(SOURCES), "Layout of --images.")
    flags.DEFINE_string("images", None, "Folder of the images.")
    flags.DEFINE_string("reports", None, "Table of reports, .xlsx or .csv.")
    flags.DEFINE_string("out", None, "Folder of the data set to write.")
    flags.DEFINE_string("grades", None, "CSV of Pfirrmann grades: Patient_ID,D5,D4,D3.")
    flags.DEFINE_string("findings", None, "JSON lines of findings by patient and level.")
    flags.DEFINE_string("splits", DEFAULT_SPLITS, "Share of the patients of each split.")
    flags.DEFINE_integer("seed", 0, "Seed of the splits.")
    flags.DEFINE_string(
        "key_file", None, "Secret that the ids are made with; made when absent [OUT.key]."
    )
    flags.DEFINE_integer("size_px", 320, "Side of the stored images.")
    flags.DEFINE_integer("shard_records", 256, "About how many records a shard holds.")
    flags.DEFINE_integer("workers", os.cpu_count(), "Worker processes.")
    flags.DEFINE_bool("overwrite", False, "Replace another data set in --out.")


def main(_: Sequence[str]) -> None:
    options = flags.FLAGS
    logging.set_verbosity(logging.WARNING)
    try:
        for name in ("images", "reports", "out"):
            if not options[name].value:
                raise InputError(f"--{name} is missing: see --help")
        build(
            pathlib.Path(options.images),
            pathlib.Path(options.reports),
            pathlib.Path(options.out),
            source=options.source,
            grades_file=options.grades and pathlib.Path(options.grades),
            findings_file=options.findings and pathlib.Path(options.findings),
            split_shares=options.splits,
            seed=options.seed,
            key_file=options.key_file and pathlib.Path(options.key_file),
            size_px=options.size_px,
            shard_records=options.shard_records,
            workers=options.workers,
            overwrite=options.overwrite,
        )
    except (InputError, OSError) as error:
        sys.exit(_failed(error))


def _failed(error: Exception) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    _define_flags()
    app.run(main)
