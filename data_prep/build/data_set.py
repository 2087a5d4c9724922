"""A data set from images and reports: scan -> plan -> convert_shard -> commit."""

import logging
import os
import pathlib

from data_prep.build import commit, splits, stages, work_tree
from data_prep.build.inputs import read_inputs
from data_prep.build.plan import Labels, make_plan
from data_prep.build.workspace import Job
from data_prep.images.pixels import SPACING_MM, Rendering
from data_prep.records import drops
from data_prep.records.pseudonyms import Pseudonyms, load_or_create_key
from data_prep.records.scan import NO_COLUMNS, Columns, Inputs
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
