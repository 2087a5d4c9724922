"""What two splits of a data set must not share, looked for record by record."""

import hashlib
from collections.abc import Iterator, Mapping

import numpy as np

from data_prep.images.fingerprints import BYTES, fingerprint, near_duplicates

TRAITS = {
    "patient_id": "patient",
    "study_id": "study",
    "series_id": "series",
    "report_group": "report",
    "pixels": "pixels",
}


class Leakage:
    """Collects the records of a data set and finds what its splits share.

    A record costs about 1 kB.
    """

    def __init__(self):
        self._first: dict[tuple[str, str], tuple[str, str]] = {}
        self._faults: list[str] = []
        self._prints = bytearray()
        self._owners: list[tuple[str, str, str]] = []
        self._planes: list[str] = []

    def add(self, split: str, where: str, texts: Mapping[str, str], image: np.ndarray) -> None:
        """Takes in a record.

        Args:
          split: of the record.
          where: its place, for the fault.
          texts: its ids and its plane by name.
          image: its pixels, uint8 [S, S, 1].
        """
        print_ = fingerprint(image)
        values = dict(texts)
        # Two pictures without content are equal and tell nothing.
        if print_ is not None:
            values["pixels"] = hashlib.sha256(image.tobytes()).hexdigest()[:16]
            self._prints += print_
            self._owners.append((split, where, texts["patient_id"]))
            self._planes.append(texts["plane"])
        for name in TRAITS.keys() & values.keys():
            other_split, other = self._first.setdefault((name, values[name]), (split, where))
            if other_split != split:
                self._faults.append(
                    f"{where} ({split}): same {TRAITS[name]} as {other} ({other_split})"
                )

    def faults(self) -> Iterator[str]:
        """The leaks, one line each; look-alike pictures are compared now."""
        yield from self._faults
        prints = np.frombuffer(bytes(self._prints), np.uint8).reshape(-1, BYTES)
        patients = [patient for _, _, patient in self._owners]
        for i, j in near_duplicates(prints, patients, self._planes):
            (split, where, _), (other_split, other, _) = self._owners[j], self._owners[i]
            if split != other_split:
                yield f"{where} ({split}): looks like {other} ({other_split})"
