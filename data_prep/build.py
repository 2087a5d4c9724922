"""Builds a data set: images and reports in; a TFDS folder, a manifest and a vocabulary out.

    python -m data_prep.build --images=DIR --reports=FILE --out=DIR

The story is scan -> plan -> convert_shard -> commit. Everything is written to a hidden folder
beside ``--out``, which takes that name when the data set is whole.
"""

import logging
import os
import pathlib
from collections.abc import Mapping

from absl import flags

from data_prep import cli, drops, work_tree
from data_prep.building import commit, splits, stages
from data_prep.building.plan import Labels, make_plan
from data_prep.building.runners import RUNNERS
from data_prep.building.workspace import Job
from data_prep.identity import Pseudonyms, load_or_create_key
from data_prep.images.pixels import SPACING_MM, WINDOWS, Rendering
from data_prep.inputs import read_inputs
from data_prep.scan import LEVEL_METHODS, NO_COLUMNS, Columns, Inputs
from data_prep.sources import SOURCES

DEFAULT_SPLITS = "train=0.7,validation=0.1,test=0.2"
COLUMNS = {
    "patient": "patient ids",
    "study": "study instance UIDs",
    "accession": "accession numbers",
    "report": "report texts",
    "image": "images: path below --images or SOP instance UID, for --level_column",
    "level": "the disc level of these images",
}

# Run with -m, this module is called __main__.
log = logging.getLogger("data_prep.build")


def build(
    images_dir: pathlib.Path,
    reports_file: pathlib.Path | None,
    out_dir: pathlib.Path,
    *,
    source: str = "mendeley",
    grades_file: pathlib.Path | None = None,
    findings_file: pathlib.Path | None = None,
    label_reports: bool = True,
    columns: Columns = NO_COLUMNS,
    levels: str = "auto",
    slice_tables: pathlib.Path | None = None,
    keep_nothing_doubtful: bool = True,
    spacing_mm: float = SPACING_MM,
    window: str = "full",
    split_shares: str = DEFAULT_SPLITS,
    seed: int = 0,
    key_file: pathlib.Path | None = None,
    size_px: int = 320,
    shard_records: int = 256,
    split_file: pathlib.Path | None = None,
    workers: int = 1,
    runner: str = "local",
    beam_options: str = "",
    overwrite: bool = False,
    stage: str = "all",
) -> dict | None:
    """Builds a data set folder; the arguments are the flags of the command.

    The same inputs, seed and key give the same bytes with any runner and number of workers. An
    `out_dir` that already holds this very build is left as it is; one that was interrupted goes on.

    Returns:
      The manifest; None with `stage` "plan", which leaves the rest to others.

    Raises:
      FileNotFoundError: an input is missing.
      ValueError: an input or option is wrong, or `out_dir` holds something else.
      OSError: the output cannot be written.
    """
    out_dir = pathlib.Path(os.path.abspath(out_dir))
    key_file = pathlib.Path(os.path.abspath(key_file or f"{out_dir}.key"))
    _check_sizes(size_px=size_px, shard_records=shard_records, workers=workers)
    _check_places(out_dir, key_file)
    _warn_of_git(out_dir, key_file)
    shares = splits.parse(split_shares)
    rendering = Rendering(size_px, spacing_mm, window)

    inputs = Inputs(
        images_dir,
        reports_file,
        columns=columns,
        levels=levels,
        slice_tables=slice_tables,
        keep_doubtful=not keep_nothing_doubtful,
        workers=workers,
    )
    try:
        material = read_inputs(
            source,
            inputs,
            grades_file=grades_file,
            findings_file=findings_file,
            label_reports=label_reports,
        )
        pseudonyms = Pseudonyms(load_or_create_key(key_file))
        plan = make_plan(
            material.images,
            material.reports,
            Labels(material.findings, material.grades),
            material.drops,
            shares=shares,
            seed=seed,
            pseudonyms=pseudonyms,
            rendering=rendering,
            shard_records=shard_records,
            split_of=split_file and splits.read_split_file(split_file, SOURCES[source].patient_key),
            templated=material.templated,
        )
    except drops.NothingLeft as nothing:
        pseudonyms = Pseudonyms(load_or_create_key(key_file))
        raise nothing.listed(pathlib.Path(f"{out_dir}.dropped.csv"), pseudonyms) from None
    if not overwrite and (existing := stages.finished(out_dir, plan)):
        return existing
    provenance = {
        **material.provenance,
        "plan": plan.digest,
        "seed": seed,
        "key_fingerprint": pseudonyms("key", "fingerprint"),
        "splits_source": "given with --split_file" if split_file else f"drawn, {split_shares}",
    }
    job = Job(
        images_dir=os.path.abspath(images_dir),
        key_file=str(key_file),
        rendering=rendering,
        provenance=provenance,
        splits_are_given=split_file is not None,
        overwrite=overwrite,
    )
    if stage == "plan":
        stages.write_plan(out_dir, plan, job)
        return None
    how = {"runner": runner, "workers": workers, "beam_options": beam_options}
    return stages.build_here(out_dir, plan, job, **how)


def _check_sizes(**sizes: int) -> None:
    limits = {"size_px": 2048, "shard_records": 10**6, "workers": 256}
    for name, size in sizes.items():
        if not 1 <= size <= limits[name]:
            raise ValueError(f"--{name} is {size}: choose a number from 1 to {limits[name]}")


def _check_places(out_dir: pathlib.Path, key_file: pathlib.Path) -> None:
    if out_dir in (key_file, *key_file.parents):
        raise ValueError(f"the key file {key_file} would lie with the data: move it out of --out")
    if out_dir.exists() and commit.read_manifest(out_dir) is None:
        raise ValueError(f"{out_dir} exists and is no data set of ours: choose another --out")
    try:
        out_dir.parent.mkdir(parents=True, exist_ok=True)
        writable = os.access(out_dir.parent, os.W_OK)
    except OSError:
        writable = False
    if not writable:
        raise ValueError(f"{out_dir.parent} cannot be written: choose another --out")


def _warn_of_git(out_dir: pathlib.Path, key_file: pathlib.Path) -> None:
    if taken := work_tree.unignored([out_dir, key_file]):
        log.warning(
            "git would take along %s: images, reports and the key to their pseudonyms do not "
            "belong into a repository; name them in .gitignore, or choose another --out",
            " and ".join(map(str, taken)),
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


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
