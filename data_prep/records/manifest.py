"""The files of a data set by name, and the seal that shows whether its manifest was changed."""

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
