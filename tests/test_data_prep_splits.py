"""Splits: nobody and no equal report on two sides, right sizes, whatever the order."""

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.build import splits
from data_prep.sources import mendeley

SHARES = {"train": 0.7, "validation": 0.1, "test": 0.2}


def cohort(group_sizes: list[int]) -> dict[str, str]:
    """patient -> group for groups of the stated sizes."""
    return {
        f"p{group}-{member}": f"g{group}"
        for group, size in enumerate(group_sizes)
        for member in range(size)
    }


def sizes(split_of: dict[str, str]) -> dict[str, int]:
    return dict(collections.Counter(split_of.values()))


@given(
    st.lists(st.integers(1, 12), min_size=30, max_size=60),
    st.integers(0, 2**32),
    st.randoms(use_true_random=False),
)
def test_a_group_never_straddles_and_order_does_not_matter(group_sizes, seed, shuffler):
    group_of = cohort(group_sizes)
    stratum_of = {group: ("a", "b")[int(group[1:]) % 2] for group in group_of.values()}
    split_of = splits.assign(group_of, SHARES, seed, stratum_of)
    assert split_of.keys() == group_of.keys()
    assert len({(group_of[p], split) for p, split in split_of.items()}) == len(group_sizes)
    patients = list(group_of)
    shuffler.shuffle(patients)
    shuffled = {patient: group_of[patient] for patient in patients}
    assert splits.assign(shuffled, SHARES, seed, stratum_of) == split_of


def test_different_reports_split_exactly():
    group_of = cohort([1] * 100)
    split_of = splits.assign(group_of, SHARES, 0, dict.fromkeys(group_of.values(), ""))
    assert sizes(split_of) == {"train": 70, "validation": 10, "test": 20}


def test_another_seed_gives_another_split():
    group_of = cohort([1] * 100)
    strata = dict.fromkeys(group_of.values(), "")
    first, second = (splits.assign(group_of, SHARES, seed, strata) for seed in (0, 1))
    assert first != second


def test_repeated_reports_reach_every_split_and_sizes_stay():
    # Like the published cohort: a large group of one normal report, some small ones, many singles.
    group_of = cohort([16, 7, 5, 4, 3, 3] + [2] * 8 + [1] * 358)
    split_of = splits.assign(group_of, SHARES, 0, dict.fromkeys(group_of.values(), ""))
    assert sizes(split_of) == {"train": 288, "validation": 41, "test": 83}
    counts = collections.Counter(group_of.values())
    repeated = collections.Counter(s for p, s in split_of.items() if counts[group_of[p]] > 1)
    assert repeated == {"train": 37, "validation": 6, "test": 11}


def test_each_stratum_is_split_alike():
    group_of = cohort([1] * 200)
    strata = {f"g{n}": "rare" if n < 40 else "common" for n in range(200)}
    split_of = splits.assign(group_of, SHARES, 3, strata)
    rare = collections.Counter(split_of[f"p{n}-0"] for n in range(40))
    assert rare == {"train": 28, "validation": 4, "test": 8}


def test_a_patient_of_a_split_file_has_one_split(tmp_path):
    path = tmp_path / "splits.csv"
    path.write_text("patient,split\n0001,train\n1.0,Train\n,\n2,test \n")
    assert splits.read_split_file(path, mendeley.patient_key) == {"0001": "train", "0002": "test"}
    path.write_text("patient,split\n0001,train\n1,test\n")
    with pytest.raises(ValueError, match=r"splits.csv row 3 has .* a second split for one patient"):
        splits.read_split_file(path, mendeley.patient_key)


def test_parse_reads_in_the_canonical_order():
    assert splits.parse("test=0.25, train=0.75") == {"train": 0.75, "test": 0.25}
    assert splits.parse("test=1.0") == {"test": 1.0}
