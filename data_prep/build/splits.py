"""Which patients train, validate and test."""

import collections
import hashlib
import logging
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence

from data_prep.records import schema
from data_prep.tables.table import read_table

log = logging.getLogger(__name__)


def parse(text: str) -> dict[str, float]:
    """Reads ``"train=0.7,validation=0.1,test=0.2"``.

    Raises:
      ValueError: another form, an unknown name, or shares that do not sum to 1.
    """
    remedy = "write --splits like train=0.7,validation=0.1,test=0.2 or test=1.0"
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = part.strip().partition("=")
        if name not in schema.SPLITS or name in shares:
            raise ValueError(f"--splits names {name!r}, unknown or twice: {remedy}")
        try:
            shares[name] = float(share)
        except ValueError:
            raise ValueError(f"--splits gives {name} no number: {remedy}") from None
        if not 0 < shares[name] <= 1:
            raise ValueError(f"--splits gives {name} {share}, not above 0 and up to 1: {remedy}")
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"--splits sums to {sum(shares.values()):g}, not 1: {remedy}")
    return {name: shares[name] for name in schema.SPLITS if name in shares}


def assign(
    group_of: Mapping[str, str],
    shares: Mapping[str, float],
    seed: int,
    stratum_of: Mapping[str, str],
) -> dict[str, str]:
    """Gives every patient a split; the patients of one group stay together.

    The outcome depends on the ids, groups, strata and the seed alone, not on any order. A ledger
    holds how many patients each split is owed: it grows by the split's share of every stratum, and
    each group goes to the split that is owed most. In a stratum, groups of several patients (equal
    reports, mostly normal ones) are booked first and the largest foremost, on their own share, so
    that no split is left without them; the others then settle what was owed.

    Args:
      group_of: patient -> group.
      shares: split -> share of the patients, as `parse` returns.
      seed: of the order in which equally large groups are dealt out.
      stratum_of: group -> name of what the splits should have in equal parts.

    Returns:
      patient -> split.

    Raises:
      ValueError: there are too few groups to give every split a patient.
    """
    sizes = collections.Counter(group_of.values())
    order = sorted(sizes, key=lambda group: (-sizes[group], _draw(seed, group)))
    owed = dict.fromkeys(shares, 0.0)
    split_of_group: dict[str, str] = {}
    for stratum in sorted(set(stratum_of.values())):
        groups = [group for group in order if stratum_of[group] == stratum]
        repeated = [group for group in groups if sizes[group] > 1]
        for batch in (repeated, groups[len(repeated) :]):
            for split, share in shares.items():
                owed[split] += share * sum(sizes[group] for group in batch)
            for group in batch:
                split = max(shares, key=owed.__getitem__)
                split_of_group[group] = split
                owed[split] -= sizes[group]
    for split in shares:
        if split not in split_of_group.values():
            raise ValueError(
                f"{len(sizes)} different reports of {len(group_of)} patients leave the split "
                f"{split!r} empty: give it a larger share or leave it out of --splits"
            )
    return {patient: split_of_group[group] for patient, group in group_of.items()}


def connected(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Maps every name in the pairs to the smallest name that it is connected with."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        parent.setdefault(name, name)
        while parent[name] != name:
            parent[name] = parent[parent[name]]
            name = parent[name]
        return name

    for first, second in pairs:
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {name: root(name) for name in parent}


def keep_together(
    split_of: Mapping[str, str], group_of: Mapping[str, str], order: Sequence[str]
) -> dict[str, str]:
    """Moves every group that straddles splits to the one that has most of its patients.

    Args:
      split_of: patient -> split.
      group_of: patient -> group; names that are no patients are ignored.
      order: the splits; of equally full ones the first takes the group.

    Raises:
      ValueError: a split would lose its last patient.
    """
    patients_in: dict[str, collections.Counter] = {}
    for patient, split in split_of.items():
        patients_in.setdefault(group_of[patient], collections.Counter())[split] += 1
    home = {
        group: max(order, key=lambda split: (counts[split], -order.index(split)))
        for group, counts in patients_in.items()
    }
    together = {patient: home[group_of[patient]] for patient in split_of}
    for split in order:
        if split not in together.values():
            raise ValueError(
                f"every patient of the split {split!r} has images like those of others: give it a "
                "larger share, or leave copied images out"
            )
    return together


def read_split_file(
    path: pathlib.Path, patient_key: Callable[[str], str | None], *, with_labels: bool = False
) -> dict[str, str]:
    """Reads who is in which split from columns ``patient`` or ``patient_id``, and ``split``.

    Args:
      path: .csv or .xlsx, such as the OUT.splits.csv of another build.
      patient_key: maps a cell to the id that the images use, or to None.
      with_labels: a table of labels is read, too; else further columns are spoken of.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not such a table; the sentence names the row.
    """
    table = read_table(path, option="--split_file")
    ids = [name for name in ("patient", "patient_id") if table.has(name)]
    patient_index, split_index = table.column([*ids, "patient"][0]), table.column("split")
    if len(table.columns) > len(ids) + 1 and not with_labels:
        log.info("further columns of %s are not read: --label_table takes them as labels", path)
    split_of: dict[str, str] = {}
    for number, cells in table.rows:
        patient, split = patient_key(cells[patient_index]), schema.split_named(cells[split_index])
        if patient is None or split is None or split_of.get(patient, split) != split:
            raise ValueError(
                f"{path} row {number} has no patient id, a second split for one patient, or a "
                f"split that is none of {', '.join(schema.SPLITS)}: correct it"
            )
        split_of[patient] = split
    return split_of


def _draw(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
