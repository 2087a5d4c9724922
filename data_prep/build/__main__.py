"""Builds a data set: images and reports in; a TFDS folder, a manifest and a vocabulary out.

    python -m data_prep.build --images=DIR --reports=FILE --out=DIR

The story is scan -> plan -> convert_shard -> commit. Everything is written to a hidden folder
beside ``--out``, which takes that name when the data set is whole.
"""

import os
import pathlib
from collections.abc import Mapping

from absl import flags

from data_prep import cli
from data_prep.build import stages
from data_prep.build.data_set import COLUMNS, DEFAULT_SPLITS, build
from data_prep.build.runners import RUNNERS
from data_prep.images.pixels import SPACING_MM, WINDOWS
from data_prep.records import drops
from data_prep.records.scan import LEVEL_METHODS, Columns
from data_prep.sources import SOURCES


def _define_flags() -> None:
    # Defined when run as a command alone: a program that imports `build` has flags of its own.
    flags.DEFINE_enum("source", "mendeley", sorted(SOURCES), "layout of --images")
    flags.DEFINE_string("images", None, "folder of the images")
    flags.DEFINE_string("reports", None, "table of reports: .xlsx, .csv or .parquet")
    flags.DEFINE_string("out", None, "folder of the data set to write")
    flags.DEFINE_string("grades", None, "table of Pfirrmann grades: Patient_ID, D5, D4, D3")
    flags.DEFINE_string("findings", None, "JSON lines of findings by patient and level")
    flags.DEFINE_bool(
        "label_reports",
        True,
        "read findings from the reports where --findings gives none, see data_prep.label_reports",
    )
    for kind, meaning in COLUMNS.items():
        flags.DEFINE_string(f"{kind}_column", "", f"--source=folder: column of {meaning}")
    flags.DEFINE_enum("levels", "auto", LEVEL_METHODS, "how the disc of a slice is told")
    flags.DEFINE_string("slice_tables", None, "--source=mendeley: folder of Slices Numbers.csv")
    flags.DEFINE_bool(
        "keep_nothing_doubtful",
        True,
        "leave out images that may bear text; --nokeep_nothing_doubtful leaves out the sure ones",
    )
    flags.DEFINE_float("spacing_mm", SPACING_MM, "pixel size of the stored images")
    flags.DEFINE_enum("window", "full", WINDOWS, "which values span black to white")
    flags.DEFINE_string("splits", DEFAULT_SPLITS, "share of the patients of each split")
    flags.DEFINE_integer("seed", 0, "seed of the splits")
    flags.DEFINE_string(
        "key_file", None, "secret that ids are made with; made when absent (default: OUT.key)"
    )
    flags.DEFINE_integer("size_px", 320, "side of the stored images in pixels")
    flags.DEFINE_integer("shard_records", 256, "about how many records a shard holds")
    flags.DEFINE_string("split_file", None, "table of patient, split, instead of --splits")
    flags.DEFINE_integer("workers", os.cpu_count(), "worker processes")
    flags.DEFINE_enum("runner", "local", RUNNERS, "who converts the shards")
    flags.DEFINE_string("beam_options", "", "flags of Apache Beam, for --runner=beam")
    flags.DEFINE_enum(
        "stage", "all", ["all", "plan", "convert", "commit"], "part of the build to run"
    )
    flags.DEFINE_integer("shard", None, "number of the shard to convert, for --stage=convert")
    flags.DEFINE_bool("overwrite", False, "replace the data set in --out")
    flags.mark_flags_as_required(["out"])


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    out_dir = pathlib.Path(os.path.abspath(options.out))
    if options.stage == "convert":
        stages.convert_one(out_dir, options.shard)
        return
    if options.stage == "commit":
        manifest = stages.publish(out_dir, options.workers)
    else:
        manifest = _build_as_asked(options, out_dir)
    if manifest is None:
        print(f"planned {stages.shard_count(out_dir)} shards: convert each, then --stage=commit")
    else:
        print(_summary(manifest, out_dir))


def _build_as_asked(options: flags.FlagValues, out_dir: pathlib.Path) -> dict | None:
    if options.images is None:
        raise ValueError("--images is missing: say where the images are")
    return build(
        pathlib.Path(options.images),
        options.reports and pathlib.Path(options.reports),
        out_dir,
        source=options.source,
        grades_file=options.grades and pathlib.Path(options.grades),
        findings_file=options.findings and pathlib.Path(options.findings),
        label_reports=options.label_reports,
        columns=Columns(**{kind: options[f"{kind}_column"].value for kind in COLUMNS}),
        levels=options.levels,
        slice_tables=options.slice_tables and pathlib.Path(options.slice_tables),
        keep_nothing_doubtful=options.keep_nothing_doubtful,
        spacing_mm=options.spacing_mm,
        window=options.window,
        split_shares=options.splits,
        seed=options.seed,
        key_file=options.key_file and pathlib.Path(options.key_file),
        size_px=options.size_px,
        shard_records=options.shard_records,
        split_file=options.split_file and pathlib.Path(options.split_file),
        workers=options.workers,
        runner=options.runner,
        beam_options=options.beam_options,
        overwrite=options.overwrite,
        stage=options.stage,
    )


def _summary(manifest: Mapping, out_dir: pathlib.Path) -> str:
    lines = [f"read {manifest['source']}"]
    lines += [
        f"{split}: {counts['images']} images of {counts['patients']} patients, "
        f"{counts['report_groups']} different reports"
        for split, counts in manifest["splits"].items()
    ]
    lines += [f"{name}: {manifest[f'{name}_source']}" for name in ("findings", "grades")]
    if manifest["dropped_by_reason"]:
        lines.append(f"left out (each is listed in {out_dir}.dropped.csv):")
        lines.append(drops.table(manifest["dropped_by_reason"]))
    return "\n".join([*lines, f"the data set is in {out_dir}"])


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
