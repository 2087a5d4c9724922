"""Random access to records: rows of several sources, and records of which a part is decoded."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow_datasets as tfds


class Rows:
    """Some rows of several sources laid end to end."""

    def __init__(self, sources: Sequence, rows: np.ndarray):
        self._sources = sources
        self._rows = rows
        self._ends = np.cumsum([len(source) for source in sources])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> dict:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[dict]:
        rows = self._rows[np.asarray(indices, np.int64)]
        records: list[dict] = [{}] * len(rows)
        number = np.searchsorted(self._ends, rows, side="right")
        for source in np.unique(number):
            here = np.flatnonzero(number == source)
            begin = self._ends[source] - len(self._sources[source])
            found = self._sources[source].__getitems__((rows[here] - begin).tolist())
            for place, record in zip(here, found, strict=True):
                records[place] = record
        return records


class PartialSource:
    """Stored records of which only some features are decoded."""

    def __init__(self, stored, features: tfds.features.FeaturesDict):
        self._stored, self._features = stored, features

    def __len__(self) -> int:
        return len(self._stored)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        return [
            self._features.deserialize_example_np(record)
            for record in self._stored.__getitems__(indices)
        ]
