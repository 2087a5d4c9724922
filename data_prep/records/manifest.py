"""The files of a data set by name, the seal of its manifest, which shows whether that was changed,
and the key of its content."""

import hashlib
import json
import re
from collections.abc import Mapping

from data_prep.records.schema import NAME

FILE = "manifest.json"
VOCABULARY = "vocab.txt"
# What TFDS opens the folder by.
DATASET_INFO, FEATURES = "dataset_info.json", "features.json"
METADATA = (DATASET_INFO, FEATURES)
# What the columns of a record mean; the rest of it is in the shards.
MEANING = ("image", "findings", "level_findings", "finding_status")
OWN_MEANING = ("tasks", "texts")  # of data sets that have some
# A shard of any data set in the form of TFDS.
SHARD = re.compile(r"\w+-\w+\.array_record-\d{5}-of-\d{5}")


def shard_name(split: str, index: int, count: int) -> str:
    """The file of shard `index` of the `count` of a split."""
    return f"{NAME}-{split}.array_record-{index:05d}-of-{count:05d}"


def seal(manifest: Mapping) -> str:
    """SHA-256 of all that a manifest says but this: its own entry in `metadata`."""
    metadata = {name: digest for name, digest in manifest["metadata"].items() if name != FILE}
    content = json.dumps({**manifest, "metadata": metadata}, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def content(manifest: Mapping) -> str:
    """SHA-256 of the records in their order and of what their columns mean."""
    shards = [[s["split"], s["records"], s["sha256"]] for s in manifest["shards"]]
    meaning = [manifest.get(name) for name in MEANING]
    meaning += [manifest[name] for name in OWN_MEANING if name in manifest]
    return hashlib.sha256(json.dumps([shards, meaning]).encode()).hexdigest()
