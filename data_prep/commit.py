"""The last step of a build: names the shards, adds the metadata, checks that the data set opens."""

import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

import tensorflow_datasets as tfds

from data_prep import drops as drops_lib
from data_prep import findings, pixels, schema, vocabulary
from data_prep.drops import Drop
from data_prep.identity import Pseudonyms
from data_prep.plan import CREATED_BY
from data_prep.shards import Shard

MANIFEST = "manifest.json"
VOCABULARY = "vocab.txt"
DESCRIPTION = "Axial lumbar-spine MRI slices, each with the radiology report of its patient."


def commit(
    folder: pathlib.Path,
    shards: Sequence[Shard],
    drops: Sequence[Drop],
    provenance: Mapping[str, object],
    *,
    size_px: int,
    pseudonyms: Pseudonyms,
) -> dict:
    """Makes a folder of finished shards a data set that TFDS opens; writes the manifest last.

    Args:
      folder: holds the shards.
      shards: in order, shards without a record excepted.
      drops: everything left out.
      provenance: entries of the manifest that say what was built from what.
      size_px: side of the images.
      pseudonyms: for the drops' locations.

    Returns:
      The manifest.

    Raises:
      OSError: TFDS does not find every record.
    """
    by_split = {
        split: [shard for shard in shards if shard.split == split]
        for split in schema.SPLITS
        if any(shard.split == split for shard in shards)
    }
    entries = []
    for split, split_shards in by_split.items():
        for index, shard in enumerate(split_shards):
            name = f"{schema.NAME}-{split}.array_record-{index:05d}-of-{len(split_shards):05d}"
            shard.path.rename(folder / name)
            entries.append(
                {
                    "name": name,
                    "split": split,
                    "records": len(shard.rows),
                    "bytes": shard.bytes,
                    "sha256": shard.sha256,
                }
            )
    _write_metadata(folder, by_split, size_px)
    _check_opens(folder, by_split)
    manifest = {
        "schema_version": schema.SCHEMA_VERSION,
        "name": schema.NAME,
        "created_by": CREATED_BY,
        **provenance,
        "splits": {split: _counts(split_shards) for split, split_shards in by_split.items()},
        "image": {"size_px": size_px, "spacing_mm": pixels.SPACING_MM},
        "findings": findings.FINDINGS,
        "level_findings": findings.LEVEL_FINDINGS,
        "finding_status": findings.STATUS,
        "vocabulary": _write_vocabulary(folder, by_split.get("train", [])),
        "shards": entries,
        "dropped_by_reason": drops_lib.count(drops),
        "dropped": drops_lib.published(drops, pseudonyms),
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
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


def _counts(shards: Sequence[Shard]) -> dict[str, int]:
    rows = [row for shard in shards for row in shard.rows]
    return {
        "images": len(rows),
        "patients": len({row.features["patient_id"] for row in rows}),
        "report_groups": len({row.features["report_group"] for row in rows}),
        "templated_reports": sum(row.features["report_source"] == schema.TEMPLATED for row in rows),
    }


def _write_metadata(
    folder: pathlib.Path, by_split: Mapping[str, Sequence[Shard]], size_px: int
) -> None:
    template = tfds.core.ShardedFileTemplate(
        dataset_name=schema.NAME, data_dir=folder, filetype_suffix="array_record"
    )
    split_infos = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[len(shard.rows) for shard in split_shards],
            num_bytes=sum(shard.bytes for shard in split_shards),
            filename_template=template.replace(split=split),
        )
        for split, split_shards in by_split.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=folder,
        features=schema.features(size_px),
        split_infos=split_infos,
        version=schema.VERSION,
        description=DESCRIPTION,
        # The check of TFDS itself needs TensorFlow; ours follows.
        check_data=False,
    )


def _check_opens(folder: pathlib.Path, by_split: Mapping[str, Sequence[Shard]]) -> None:
    builder = tfds.builder_from_directory(folder)
    for split, split_shards in by_split.items():
        source = builder.as_data_source(split)
        expected = [row.features["image_id"] for shard in split_shards for row in shard.rows]
        if (
            len(source) != len(expected)
            or source[len(expected) - 1]["image_id"].decode() != expected[-1]
        ):
            raise OSError(f"{folder} was written but split {split} does not read back: build again")


def _write_vocabulary(folder: pathlib.Path, train_shards: Sequence[Shard]) -> dict | None:
    reports = {
        row.features["patient_id"]: row.features["report"]
        for shard in train_shards
        for row in shard.rows
    }
    if not reports:
        return None
    tokens = vocabulary.learn(list(reports.values()))
    content = ("\n".join(tokens) + "\n").encode()
    (folder / VOCABULARY).write_bytes(content)
    return {
        "file": VOCABULARY,
        "size": len(tokens),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
