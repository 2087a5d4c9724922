"""A record as TFDS stores it: its features, and its bytes as a ``tf.train.Example``."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds
from tensorflow_datasets.proto import tf_example_pb2

from data_prep.records.findings import FINDINGS, LEVEL_FINDINGS
from data_prep.records.texts import KINDS, LABELS, TEXTS


def features(size_px: int, tasks: int = 0, *, texts: bool = False) -> tfds.features.FeaturesDict:
    """The features of one record: a view [S, S, 1] and the report of its patient.

    With `tasks` there are `labels`, one number each, see `records.tasks`; with `texts` what
    `records.texts` says.

    The image is stored as raw bytes: ``Tensor``'s default encoding writes one varint a pixel, which
    is 1.5 times larger and 10 times slower to read.
    """
    text = tfds.features.Text
    tensor = tfds.features.Tensor
    return tfds.features.FeaturesDict(
        {
            "image": tensor(
                shape=(size_px, size_px, 1),
                dtype=np.uint8,
                encoding=tfds.features.Encoding.BYTES,
            ),
            "report": text(),
            "report_source": text(),
            "level": text(),
            "plane": text(),
            "sequence": text(),
            "patient_id": text(),
            "study_id": text(),
            "series_id": text(),
            "image_id": text(),
            "report_group": text(),
            "findings": tensor(shape=(len(FINDINGS),), dtype=np.uint8),
            "level_findings": tensor(shape=(len(LEVEL_FINDINGS),), dtype=np.uint8),
            "grades": tfds.features.FeaturesDict(
                {"pfirrmann": tfds.features.Scalar(dtype=np.uint8)}
            ),
        }
        | ({"labels": tensor(shape=(tasks,), dtype=np.int8)} if tasks else {})
        | {name: tfds.features.Sequence(text()) for name in (TEXTS, KINDS) if texts}
        | ({LABELS: tensor(shape=(None, tasks), dtype=np.int8)} if texts and tasks else {})
    )


def features_of(manifest: Mapping[str, Any], size_px: int) -> tfds.features.FeaturesDict:
    """The features of the records of a data set, as its manifest has it."""
    return features(size_px, len(manifest.get("tasks", ())), texts="texts" in manifest)


def serialize(record: Mapping[str, Any]) -> bytes:
    """A record as the bytes of a ``tf.train.Example``, always the same ones.

    They are those of `features`, which takes seven times longer and writes a protocol buffer's map
    in an order that differs from process to process.
    """
    # pyrefly: ignore [missing-attribute]  # a class that protobuf makes at run time
    example = tf_example_pb2.Example()
    for name, value in _flat(record):
        feature = example.features.feature[name]
        if isinstance(value, str):
            feature.bytes_list.value.append(value.encode())
        elif name == "image":
            feature.bytes_list.value.append(value.tobytes())
        elif name in (TEXTS, KINDS):
            feature.bytes_list.value.extend(text.encode() for text in value)
        elif name == LABELS:
            feature.int64_list.value.extend(itertools.chain.from_iterable(value))
        else:
            feature.int64_list.value.extend(value if isinstance(value, Sequence) else [value])
    return example.SerializeToString(deterministic=True)


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        else:
            yield prefix + name, value
