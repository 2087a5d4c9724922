"""The input benchmark names its parts; the training records hold what a batch needs and no more."""

import numpy as np
import pytest

from lumbarclip_jax.bench import input as input_bench
from lumbarclip_jax.bench import machine
from lumbarclip_jax.data.dataset import Dataset
from tests import tiny_runs


def test_every_part_has_a_rate(tiny_dataset):
    config = tiny_runs.tiny_config(tiny_dataset)
    config.data.update(global_batch_size=4, one_level_a_batch=False)
    rates = input_bench.measure(config, threads=[1], processes=[2], repeats=1)
    parts = ["read", "sentences", "tokenize", "batch"]
    assert list(rates) == [*parts, "iterator, 1 threads", "iterator, 2 processes"]
    assert all(rate["pairs_per_s"] > 0 and rate["per_cpu_s"] > 0 for rate in rates.values())


def test_the_page_has_a_row_a_part_and_the_command():
    row = {
        "command": "python -m lumbarclip_jax.bench.input --config=a.py",
        "config": "a",
        "batch_size": 32,
        "repeats": 5,
        "machine": machine.describe(),
        "versions": {"grain": "0.2"},
        "rates": {"read": {"pairs_per_s": 12_345.6, "per_cpu_s": 10_000.4}},
    }
    page = input_bench.render(row)
    assert "\n    python -m lumbarclip_jax.bench.input --config=a.py\n" in page
    assert "| read | 12,346 | 10,000 |" in page
    assert machine.sentence(row["machine"]) in page


def test_partial_records_are_those_of_the_source(tiny_dataset):
    dataset = Dataset(tiny_dataset)
    whole, partial = dataset.source("train"), dataset.partial_source("train", ("image", "level"))
    assert len(partial) == len(whole)
    for index, record in zip([5, 0], partial.__getitems__([5, 0]), strict=True):
        assert set(record) == {"image", "level"}
        np.testing.assert_array_equal(record["image"], whole[index]["image"])
        assert record["level"] == whole[index]["level"]
    with pytest.raises(ValueError, match="no split 'night'"):
        dataset.partial_source("night", ("image",))


@pytest.mark.parametrize("word", ["x", "0", "-1", ""])
def test_a_number_that_is_none_is_named_with_its_flag(word):
    with pytest.raises(ValueError, match=f"--threads: '{word}' is no number of threads, write"):
        input_bench._counts("threads", ["1", word])
