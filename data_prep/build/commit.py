"""The last step of a build: names the shards, adds the metadata, checks that the data set opens."""

import collections
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow_datasets as tfds

from data_prep.build import tallies
from data_prep.build.plan import CREATED_BY
from data_prep.build.workspace import PlannedShard, Workspace
from data_prep.process.files import disk_errors_name, write_whole
from data_prep.records import drops as drops_lib
from data_prep.records import example, findings, schema
from data_prep.records.drops import Drop
from data_prep.records.manifest import FILE as MANIFEST
from data_prep.records.manifest import METADATA, VOCABULARY, seal, shard_name
from data_prep.records.pseudonyms import Pseudonyms
from data_prep.text import vocabulary

DESCRIPTION = "Lumbar-spine MRI slices, each with the radiology report of its patient."


def commit(
    space: Workspace,
    folder: pathlib.Path,
    dropped: Sequence[Drop],
    provenance: Mapping[str, object],
    pseudonyms: Pseudonyms,
) -> dict:
    """Fills a folder with a workspace's shards and all that TFDS needs; writes the manifest last.

    The shards are linked, not moved: whenever this is interrupted, it can begin anew.

    Args:
      space: its shards are all ready.
      folder: created.
      dropped: everything left out.
      provenance: entries of the manifest that say what was built from what.
      pseudonyms: for the locations of what is left out.

    Returns:
      The manifest.

    Raises:
      OSError: something cannot be written, or TFDS does not find every record.
    """
    folder.mkdir()
    by_split: dict[str, list[PlannedShard]] = {}
    for shard in space.shards():
        if space.made(shard.digest).kept:
            by_split.setdefault(shard.split, []).append(shard)
    entries: list[dict[str, Any]] = []
    counts: dict[str, dict[str, int]] = {}
    last_ids: dict[str, str] = {}
    words = tallies.Words()
    views: collections.Counter[tuple[str, str]] = collections.Counter()
    for split, split_shards in by_split.items():
        tally = tallies.Tally()
        for index, shard in enumerate(split_shards):
            name = shard_name(split, index, len(split_shards))
            _link(space.shard_path(shard.digest), folder / name)
            receipt = space.made(shard.digest)
            rows = list(space.rows(shard.digest))
            kept = [rows[number] for number, _ in receipt.kept]
            tally.add(kept)
            views.update((row.features["plane"], row.features["sequence"]) for row in kept)
            words.add(split, kept)
            entry = {"name": name, "split": split, "records": len(kept)}
            entries.append(entry | {"bytes": receipt.bytes, "sha256": receipt.sha256})
        counts[split] = tally.counts()
        last_ids[split] = kept[-1].features["image_id"]
    rendering = space.job().rendering
    with disk_errors_name(folder):
        _write_metadata(folder, entries, example.features_of(provenance, rendering.size_px))
    _check_opens(folder, counts, last_ids)
    manifest: dict[str, Any] = {
        "schema_version": schema.SCHEMA_VERSION,
        "name": schema.NAME,
        "created_by": CREATED_BY,
        **provenance,
        **({"texts": {"kinds": words.kinds()}} if "texts" in provenance else {}),
        "splits": counts,
        **words.apart(),
        "views": tallies.nested(views),
        "image": rendering.stated(),
        "findings": findings.FINDINGS,
        "level_findings": findings.LEVEL_FINDINGS,
        "finding_status": findings.STATUS,
        "vocabulary": _write_vocabulary(folder, words.of_training()),
        "metadata": {name: _sha256(folder / name) for name in METADATA},
        "shards": entries,
        "dropped_by_reason": drops_lib.count(dropped),
        "dropped": drops_lib.published(dropped, pseudonyms),
    }
    manifest["metadata"][MANIFEST] = seal(manifest)
    write_whole(folder / MANIFEST, (json.dumps(manifest, indent=1) + "\n").encode())
    return manifest


def is_whole(folder: pathlib.Path, manifest: Mapping) -> bool:
    """Whether every shard is there in its full size; contents are not looked at."""
    paths = [(folder / shard["name"], shard["bytes"]) for shard in manifest["shards"]]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def read_manifest(folder: pathlib.Path) -> dict | None:
    """The manifest of a finished data set, or None where there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) else None


def _link(source: pathlib.Path, target: pathlib.Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without links
        with disk_errors_name(target):
            shutil.copyfile(source, target)


def _write_metadata(
    folder: pathlib.Path, entries: Sequence[Mapping], features: tfds.features.FeaturesDict
) -> None:
    template = tfds.core.ShardedFileTemplate(
        dataset_name=schema.NAME, data_dir=folder, filetype_suffix="array_record"
    )
    split_infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[entry["records"] for entry in entries if entry["split"] == split],
            num_bytes=sum(entry["bytes"] for entry in entries if entry["split"] == split),
            filename_template=template.replace(split=split),
        )
        for split in dict.fromkeys(entry["split"] for entry in entries)
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=features,
        split_infos=split_infos,
        version=schema.VERSION,
        description=DESCRIPTION,
        # The check of TFDS itself needs TensorFlow; ours follows.
        check_data=False,
    )


def _check_opens(
    folder: pathlib.Path, counts: Mapping[str, Mapping[str, int]], last_ids: Mapping[str, str]
) -> None:
    builder: Any = tfds.builder_from_directory(folder)  # its decorators hide what it takes
    for split in counts:
        source = builder.as_data_source(split)
        images = counts[split]["images"]
        if len(source) != images or source[images - 1]["image_id"].decode() != last_ids[split]:
            raise OSError(f"{folder} was written but split {split} does not read back: build again")


def _write_vocabulary(folder: pathlib.Path, reports: Sequence[str]) -> dict | None:
    if not reports:
        return None
    tokens = vocabulary.learn(reports)
    write_whole(folder / VOCABULARY, ("\n".join(tokens) + "\n").encode())
    return {"file": VOCABULARY, "size": len(tokens), "sha256": _sha256(folder / VOCABULARY)}


def _sha256(path: pathlib.Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
