"""ArrayRecord shards: written, opened again, counted and hashed."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from array_record.python.array_record_data_source import ArrayRecordDataSource
from array_record.python.array_record_module import ArrayRecordWriter

from data_prep.images import decoder
from data_prep.images.decoder import Place
from data_prep.images.dicom import Rejected
from data_prep.images.fingerprints import fingerprint
from data_prep.images.pixels import Rendering
from data_prep.process.files import disk_errors_name, own_name
from data_prep.records import example
from data_prep.records.drops import Reason

# One record a group: a larger group is unpacked whole for each random access.
WRITER_OPTIONS = "group_size:1,uncompressed"


@dataclasses.dataclass(frozen=True)
class Row:
    """A record to be: its image (a frame of a file of the images folder) and other features.

    `sha256` is of the file. `picture_mm` is the pixel size of a picture, 0 where it is not known.
    """

    path: str
    frame: int
    sha256: str
    features: Mapping[str, Any]
    picture_mm: float = 0.0

    def stated(self) -> tuple:
        """All that its record is made from; a pixel size only where it has one."""
        fields = dataclasses.astuple(self)
        return fields if self.picture_mm else fields[:-1]

    @property
    def place(self) -> str:
        """Where the image is in the source, for what is left out."""
        return f"{self.path} frame {self.frame}" if self.frame else self.path


@dataclasses.dataclass(frozen=True)
class Receipt:
    """What became of a shard's rows.

    `kept` has (index, fingerprint in hex or "") of each row that is a record, in order; `dropped`
    (index, reason, detail) of the others. `bytes` and `sha256` are of the file, which is not there
    when no row was kept.
    """

    bytes: int
    sha256: str
    kept: list[tuple[int, str]]
    dropped: list[tuple[int, str, str]]


def convert_shard(
    rows: Sequence[Row], images_dir: pathlib.Path, rendering: Rendering, path: pathlib.Path
) -> Receipt:
    """Decodes the images of a shard and writes it; an image that cannot be used is left out.

    Equal arguments give equal bytes, whoever else converts the same shard at the same time.

    Raises:
      OSError: the shard cannot be written, or does not hold what was written.
    """
    kept: list[tuple[int, str]] = []
    dropped: list[tuple[int, str, str]] = []
    partial = own_name(path)
    places = [
        Place(images_dir / row.path, row.frame, row.features["plane"], row.picture_mm)
        for row in rows
    ]
    writer = ArrayRecordWriter(str(partial), WRITER_OPTIONS)
    try:
        with decoder.borrowed() as images:
            for index, image in enumerate(images.render(places, rendering)):
                if isinstance(image, Rejected):
                    dropped.append((index, Reason(image.reason).value, image.detail))
                    continue
                writer.write(example.serialize({"image": image, **rows[index].features}))
                kept.append((index, (fingerprint(image) or b"").hex()))
        with disk_errors_name(path):
            writer.close()
            size, digest = _check(partial, len(kept)) if kept else (0, "")
            if kept:
                os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    return Receipt(size, digest, kept, dropped)


def _check(path: pathlib.Path, records: int) -> tuple[int, str]:
    """Flushes a shard to disk and opens it again; returns its (bytes, sha256)."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    # Not the bare reader: to that one a cut-off file is an empty one.
    with ArrayRecordDataSource([str(path)]) as source:
        if len(source) != records:
            raise OSError(f"{path} holds {len(source)} of {records} records: is the disk full?")
    return path.stat().st_size, digest
