"""Builds a data set: images and reports in; a TFDS folder, a manifest and a vocabulary out.

    python -m data_prep.build --images=DIR --reports=FILE --out=DIR

Your own images need a table of one row an image: ``--source=table --reports=TABLE``, of which
``--make_template=FILE`` writes an example.

The story is scan -> plan -> convert_shard -> commit. Everything is written to a hidden folder
beside ``--out``, which takes that name when the data set is whole.
"""

import os
import pathlib
from collections.abc import Mapping

from absl import flags

from data_prep import cli
from data_prep.build import options, stages
from data_prep.build.data_set import build
from data_prep.records import drops
from data_prep.sources.table_template import write_template


def _define_flags() -> None:
    # Defined when run as a command alone: a program that imports `build` has flags of its own.
    flags.DEFINE_string("images", None, "folder of the images")
    flags.DEFINE_string("reports", None, "table of reports: .xlsx, .csv or .parquet")
    flags.DEFINE_string("out", None, "folder of the data set to write")
    flags.DEFINE_string(
        "make_template", None, "write an example of the table of --source=table, and end"
    )
    flags.DEFINE_integer("shard", None, "number of the shard to convert, for --stage=convert")
    options.define_flags()
    flags.adopt_module_key_flags(options)


def main() -> None:
    """Runs the command."""
    asked = flags.FLAGS
    if asked.make_template:
        write_template(pathlib.Path(asked.make_template))
        print(f"fill in {asked.make_template}, and give it as --source=table --reports")
        return
    if asked.out is None:
        raise ValueError("--out is missing: say where the data set is to be written")
    out_dir = pathlib.Path(os.path.abspath(asked.out))
    if asked.stage == "convert":
        stages.convert_one(out_dir, asked.shard)
        return
    if asked.stage == "commit":
        manifest = stages.publish(out_dir, asked.workers)
    elif asked.images is None:
        raise ValueError("--images is missing: say where the images are")
    else:
        manifest = build(
            pathlib.Path(asked.images),
            asked.reports and pathlib.Path(asked.reports),
            out_dir,
            **options.given(asked),
        )
    if manifest is None:
        print(f"planned {stages.shard_count(out_dir)} shards: convert each, then --stage=commit")
    else:
        print(_summary(manifest, out_dir))


def _summary(manifest: Mapping, out_dir: pathlib.Path) -> str:
    lines = [f"read {manifest['source']}"]
    lines += [
        f"{split}: {counts['images']} images of {counts['patients']} patients, "
        f"{counts['report_groups']} different reports"
        for split, counts in manifest["splits"].items()
    ]
    lines += [f"{name}: {manifest[f'{name}_source']}" for name in ("findings", "grades")]
    lines += [
        f"task {task['name']}, by {task['unit']}: {', '.join(task['classes'])}"
        for task in manifest.get("tasks", ())
    ]
    if kinds := manifest.get("texts", {}).get("kinds"):
        lines.append("further texts: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items()))
    if manifest["dropped_by_reason"]:
        lines.append(f"left out (each is listed in {out_dir}.dropped.csv):")
        lines.append(drops.table(manifest["dropped_by_reason"]))
    return "\n".join([*lines, f"the data set is in {out_dir}"])


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
