"""The manifest of a data set: read, and held against the files that lie beside it."""

import concurrent.futures
import hashlib
import json
import logging
import pathlib
import time
from collections.abc import Iterator, Mapping

from data_prep.records.manifest import DATASET_INFO, FILE, METADATA, SHARD, seal
from data_prep.records.schema import SCHEMA_VERSION

log = logging.getLogger(__name__)

ENTRIES = ("splits", "image", "findings", "level_findings", "vocabulary", "shards")
AGAIN = "copy the data set again, all of it"
READERS = 4  # files read at a time


def read(folder: pathlib.Path) -> dict:
    """The manifest of a data set folder, which was written as it is.

    Raises:
      FileNotFoundError: the folder or its manifest does not exist.
      ValueError: the manifest is damaged, or of another schema version.
    """
    path = folder / FILE
    if not path.is_file():
        if folder.is_dir() and any(SHARD.fullmatch(file.name) for file in folder.iterdir()):
            raise FileNotFoundError(f"{path} is missing: {AGAIN}")
        raise FileNotFoundError(
            f"{folder} is not a data set (no {FILE}): build one with "
            "`python -m data_prep.build --out DIR` and pass --config.data.dir=DIR"
        )
    damaged = f"{path} is cut or damaged: {AGAIN}"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(damaged) from error
    if not isinstance(manifest, dict):
        raise ValueError(damaged)
    if manifest.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path} has schema version {manifest.get('schema_version')}, this program "
            f"reads {SCHEMA_VERSION}: build the data set again with this version's data_prep"
        )
    stated = manifest.get("metadata", {})
    # The first manifests had neither entry.
    is_stripped = "key_fingerprint" in manifest and not stated
    if is_stripped or any(name not in manifest for name in ENTRIES):
        raise ValueError(damaged)
    if FILE in stated and stated[FILE] != seal(manifest):
        raise ValueError(f"{path} was changed after the data set was built: {AGAIN}")
    return manifest


def check_files(folder: pathlib.Path, manifest: Mapping) -> None:
    """Checks all but the contents of the shards: quick whatever their size.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file is not the one that the manifest names, or belongs to another data set.
    """
    try:
        _check_files(folder, manifest)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / FILE} is cut or damaged: {AGAIN}") from error


def check_shards(folder: pathlib.Path, manifest: Mapping) -> None:
    """Reads all shards and compares them with their sha256.

    Raises:
      ValueError: a shard is not the one that was built, or cannot be read.
    """
    started, entries = time.monotonic(), manifest["shards"]
    with concurrent.futures.ThreadPoolExecutor(READERS) as readers:
        digests = readers.map(lambda entry: sha256(folder / entry["name"]), entries)
        for entry, digest in zip(entries, digests, strict=True):
            if digest != entry["sha256"]:
                readers.shutdown(wait=False, cancel_futures=True)
                twins = [other["name"] for other in entries if other["sha256"] == digest]
                found = f"holds what belongs into {twins[0]}" if twins else "is damaged"
                raise ValueError(f"{folder / entry['name']} {found}: {AGAIN}")
    size_mb = sum(entry["bytes"] for entry in entries) / 1e6
    took_s = time.monotonic() - started
    log.info("%s: %d shards, %.1f MB, are whole (%.1f s)", folder, len(entries), size_mb, took_s)


def sha256(path: pathlib.Path) -> str:
    """The sha256 of a file in hex.

    Raises:
      ValueError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): {AGAIN}") from error


def _check_files(folder: pathlib.Path, manifest: Mapping) -> None:
    stated = dict(manifest.get("metadata", {}))
    stated.pop(FILE, None)
    if vocabulary := manifest["vocabulary"]:
        stated[vocabulary["file"]] = vocabulary["sha256"]
    for name, digest in stated.items():
        _require(folder / name)
        if sha256(folder / name) != digest:
            raise ValueError(f"{folder / name} is not the file that {FILE} names: {AGAIN}")
    if fault := next(_disagreements(folder, manifest), ""):
        raise ValueError(f"{fault}: {AGAIN}")
    for entry in manifest["shards"]:
        path = folder / entry["name"]
        _require(path)
        if (size := path.stat().st_size) != entry["bytes"]:
            raise ValueError(f"{path} has {size} bytes, not {entry['bytes']}: {AGAIN}")
    named = {entry["name"] for entry in manifest["shards"]}
    for path in sorted(folder.iterdir()):
        if SHARD.fullmatch(path.name) and path.name not in named:
            raise ValueError(
                f"{path} is a shard that {FILE} does not name, as of another data set: {AGAIN}, "
                "into an empty folder"
            )


def _require(path: pathlib.Path) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {AGAIN}")


def _disagreements(folder: pathlib.Path, manifest: Mapping) -> Iterator[str]:
    """What the manifest and TFDS's own file say of the shards, for manifests without a seal."""
    lengths: dict[str, list[int]] = {}
    for entry in manifest["shards"]:
        lengths.setdefault(entry["split"], []).append(entry["records"])
    if {split: counts["images"] for split, counts in manifest["splits"].items()} != {
        split: sum(records) for split, records in lengths.items()
    }:
        yield f"{folder / FILE} counts other images than its shards hold"
    for name in METADATA:
        _require(folder / name)
        described = lengths
        try:
            content = json.loads((folder / name).read_text(encoding="utf-8"))
            if name == DATASET_INFO:
                described = {
                    s["name"]: [int(n) for n in s["shardLengths"]] for s in content["splits"]
                }
        except (ValueError, KeyError, TypeError):
            yield f"{folder / name} is cut or damaged"
            return
        if name == DATASET_INFO and described != lengths:
            yield f"{folder / name} describes other shards than {FILE}"
