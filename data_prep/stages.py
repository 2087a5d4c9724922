"""The back half of a build: from a plan to a data set in its place."""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

from data_prep import commit, drops
from data_prep.identity import Pseudonyms
from data_prep.parallel import ordered_map
from data_prep.plan import Plan
from data_prep.shards import Shard, ShardPlan, convert_shard


def convert_and_publish(
    plan: Plan,
    images_dir: pathlib.Path,
    out_dir: pathlib.Path,
    provenance: Mapping[str, object],
    pseudonyms: Pseudonyms,
    *,
    size_px: int,
    workers: int,
    overwrite: bool,
) -> dict:
    """Converts a plan's images and gives the finished folder the name `out_dir`.

    An `out_dir` that holds this very plan's data set is left as it is.

    Args:
      plan: what to build.
      images_dir: the folder that the plan's paths are relative to.
      out_dir: the data set's folder.
      provenance: entries of the manifest that say what was built from what.
      pseudonyms: for the locations of what is left out.
      size_px: side of the images.
      workers: processes.
      overwrite: whether another data set in `out_dir` is replaced.

    Returns:
      The manifest.

    Raises:
      ValueError: `out_dir` holds something else, or no image can be decoded.
      OSError: the output cannot be written.
    """
    existing = commit.read_manifest(out_dir)
    if existing and not overwrite:
        if existing.get("plan") == plan.digest and commit.is_whole(out_dir, existing):
            return existing
        raise ValueError(
            f"{out_dir} holds another data set: add --overwrite, or choose another --out"
        )
    with _in_place_of(out_dir) as folder:
        shards = _convert(plan, images_dir, folder, size_px, workers)
        dropped = [*plan.drops, *(drop for shard in shards for drop in shard.drops)]
        finished = [shard for shard in shards if shard.rows]
        if not finished:
            raise ValueError(f"no image of {images_dir} can be decoded: check the files")
        manifest = commit.commit(
            folder, finished, dropped, provenance, size_px=size_px, pseudonyms=pseudonyms
        )
        drops.write_private_table(pathlib.Path(f"{out_dir}.dropped.csv"), dropped, pseudonyms)
    return manifest


@contextlib.contextmanager
def _in_place_of(out_dir: pathlib.Path) -> Iterator[pathlib.Path]:
    """A hidden folder beside `out_dir` that becomes it when the block ends without an error."""
    partial = out_dir.with_name(f".{out_dir.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        if out_dir.exists():
            replaced = partial.with_suffix(".replaced")
            out_dir.rename(replaced)
            partial.rename(out_dir)
            shutil.rmtree(replaced)
        else:
            partial.rename(out_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _convert(
    plan: Plan, images_dir: pathlib.Path, folder: pathlib.Path, size_px: int, workers: int
) -> list[Shard]:
    tasks = [
        ShardPlan(images_dir, folder / f"{split}-{index:05d}", split, size_px, rows)
        for split, shards in plan.shards.items()
        for index, rows in enumerate(shards)
    ]
    shards = list(ordered_map(convert_shard, tasks, workers=workers, label="writing shards"))
    for shard in shards:
        if not shard.rows:
            shard.path.unlink()
    return shards
