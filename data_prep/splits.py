"""Which patients train, validate and test."""

import collections
import hashlib
from collections.abc import Mapping

from data_prep import schema


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


def _draw(seed: int, group: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
