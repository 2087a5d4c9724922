"""A data set from images and reports: scan -> plan -> convert_shard -> commit."""

import logging
import os
import pathlib
from collections.abc import Mapping

from data_prep.build import commit, splits, stages, work_tree
from data_prep.build.inputs import Material, read_inputs
from data_prep.build.options import Options
from data_prep.build.plan import Labels, make_plan
from data_prep.build.workspace import Job
from data_prep.images.pixels import Rendering
from data_prep.records import drops
from data_prep.records.pseudonyms import Pseudonyms, load_or_create_key
from data_prep.records.scan import Inputs
from data_prep.sources import SOURCES

# Logs under the name of the command.
log = logging.getLogger("data_prep.build")


def build(
    images_dir: pathlib.Path, reports_file: pathlib.Path | None, out_dir: pathlib.Path, **options
) -> dict | None:
    """Builds a data set folder.

    The same inputs, seed and key give the same bytes with any runner and number of workers. An
    `out_dir` that already holds this very build is left as it is; one that was interrupted goes on.

    Args:
      images_dir: folder of the images.
      reports_file: table of reports; None for a source that has none.
      out_dir: folder of the data set to write.
      **options: fields of `options.Options`, which says what they are. `stage` "plan" leaves the
        rest to others.

    Returns:
      The manifest; None with `stage` "plan".

    Raises:
      FileNotFoundError: an input is missing.
      TypeError: there is no such option.
      ValueError: an input or option is wrong, or `out_dir` holds something else.
      OSError: the output cannot be written.
    """
    return _build(
        images_dir, reports_file, pathlib.Path(os.path.abspath(out_dir)), Options(**options)
    )


def _build(
    images_dir: pathlib.Path,
    reports_file: pathlib.Path | None,
    out_dir: pathlib.Path,
    options: Options,
) -> dict | None:
    if options.stage not in ("all", "plan"):
        raise ValueError(
            f"stage {options.stage!r} works on a plan that is there: stages.convert_one, publish"
        )
    key_file = pathlib.Path(os.path.abspath(options.key_file or f"{out_dir}.key"))
    _check_places(out_dir, key_file)
    _warn_of_git(out_dir, key_file)
    shares = splits.parse(options.split_shares)

    inputs = Inputs(
        images_dir,
        reports_file,
        columns=options.columns,
        levels=options.levels,
        slice_tables=options.slice_tables,
        keep_doubtful=options.keep_doubtful,
        workers=options.workers,
    )
    try:
        material = read_inputs(
            options.source,
            inputs,
            grades_file=options.grades_file,
            findings_file=options.findings_file,
            label_table=options.label_table,
            texts_file=options.texts_file,
            label_reports=options.label_reports,
        )
        pseudonyms = Pseudonyms(load_or_create_key(key_file))
        rendering = Rendering(
            options.size_px, options.spacing_mm, options.window, material.pictures
        )
        split_of = _given_splits(options, material)
        plan = make_plan(
            material.images,
            material.reports,
            Labels(material.findings, material.grades, material.tasks, material.texts),
            material.drops,
            shares=shares,
            seed=options.seed,
            pseudonyms=pseudonyms,
            rendering=rendering,
            shard_records=options.shard_records,
            split_of=split_of,
            templated=material.templated,
        )
    except drops.NothingLeft as nothing:
        pseudonyms = Pseudonyms(load_or_create_key(key_file))
        raise nothing.listed(pathlib.Path(f"{out_dir}.dropped.csv"), pseudonyms) from None
    if not options.overwrite and (existing := stages.finished(out_dir, plan)):
        return existing
    given = "given with --split_file" if options.split_file else "given in the table"
    provenance = {
        **material.provenance,
        "plan": plan.digest,
        "seed": options.seed,
        "key_fingerprint": pseudonyms("key", "fingerprint"),
        "splits_source": given if split_of else f"drawn, {options.split_shares}",
    }
    job = Job(
        images_dir=os.path.abspath(images_dir),
        key_file=str(key_file),
        rendering=rendering,
        provenance=provenance,
        splits_are_given=split_of is not None,
        overwrite=options.overwrite,
    )
    if options.stage == "plan":
        stages.write_plan(out_dir, plan, job)
        return None
    return stages.build_here(
        out_dir,
        plan,
        job,
        runner=options.runner,
        workers=options.workers,
        beam_options=options.beam_options,
    )


def _given_splits(options: Options, material: Material) -> Mapping[str, str] | None:
    """patient -> split where that is prescribed, by a file or by the source."""
    if options.split_file is None:
        return material.splits
    if material.splits:
        raise ValueError("the table has a column split: leave out --split_file, or the column")
    return splits.read_split_file(
        options.split_file,
        SOURCES[options.source].patient_key,
        with_labels=options.label_table is not None,
    )


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
