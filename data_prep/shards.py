"""ArrayRecord shards: written, opened again, counted and hashed."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2

from data_prep import dicom, pixels, schema
from data_prep.drops import Drop

# One record a group: a larger group is unpacked whole for each random access.
WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Row:
    """A record to be: its image (a file of the images folder, a frame of it) and other features."""

    path: str
    frame: int
    features: Mapping[str, object]


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """The unit of work: the rows of one shard and the file it becomes."""

    images_dir: pathlib.Path
    path: pathlib.Path
    split: str
    size_px: int
    rows: Sequence[Row]


@dataclasses.dataclass(frozen=True)
class Shard:
    """A finished shard: the rows that made it into `path`, in order, and what was left out."""

    path: pathlib.Path
    split: str
    rows: Sequence[Row]
    bytes: int
    sha256: str
    drops: list[Drop]


def convert_shard(plan: ShardPlan) -> Shard:
    """Decodes the images of a shard and writes it; an image that cannot be used becomes a drop.

    Equal plans give equal bytes.

    Raises:
      OSError: the shard cannot be written, or does not hold what was written.
    """
    features = schema.features(plan.size_px)
    kept, drops = [], []
    partial = plan.path.with_name(plan.path.name + ".partial")
    writer = ArrayRecordWriter(str(partial), WRITER_OPTIONS)
    for row in plan.rows:
        try:
            image = pixels.read(plan.images_dir / row.path, plan.size_px, row.frame)
        except dicom.Rejected as rejected:
            drops.append(Drop(row.path, rejected.reason, rejected.detail))
            continue
        example = tf_example_pb2.Example.FromString(
            features.serialize_example({"image": image, **row.features})
        )
        # A protocol buffer's map has no order of its own, and the default writes it in one that
        # differs from process to process.
        writer.write(example.SerializeToString(deterministic=True))
        kept.append(row)
    try:
        writer.close()
    except RuntimeError as error:
        raise OSError(f"{plan.path} cannot be written, is the disk full? ({error})") from error
    size, digest = _check(partial, len(kept))
    os.replace(partial, plan.path)
    return Shard(plan.path, plan.split, kept, size, digest, drops)


def _check(path: pathlib.Path, records: int) -> tuple[int, str]:
    """Flushes a shard to disk and opens it again; returns its (bytes, sha256)."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Not the bare reader: to that one a cut-off file is an empty one.
    with ArrayRecordDataSource([str(path)]) as source:
        if records and len(source) != records:
            raise OSError(f"{path} holds {len(source)} of {records} records: is the disk full?")
    return path.stat().st_size, digest
