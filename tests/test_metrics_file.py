"""Numbers on disk: JSON that any program reads, and undefined numbers that survive it."""

import json
import math

import numpy as np
import pytest

from lumbarclip_jax.evaluators.metrics_file import from_json, read_metrics, save_metrics, to_json
from lumbarclip_jax.run_folder.metric_writer import MetricWriter, read_history


def strict(text: str) -> dict:
    """Parses as the standard has it, which knows no NaN and no Infinity."""

    def refuse(token: str):
        raise ValueError(f"{token} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_an_undefined_number_is_null_on_disk_and_nan_in_hand(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    save_metrics({"b": math.nan, "a": 0.5}, path)
    assert strict(path.read_text()) == {"a": 0.5, "b": None}
    assert list(strict(path.read_text())) == ["a", "b"]
    np.testing.assert_equal(read_metrics(path), {"a": 0.5, "b": math.nan})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_never_written(value):
    assert strict(to_json({"a": value})) == {"a": None}
    assert math.isnan(from_json(to_json({"a": value}))["a"])


def test_files_of_before_are_read():
    np.testing.assert_equal(from_json('{"a": NaN, "b": 1.0}'), {"a": math.nan, "b": 1.0})


def test_the_history_of_a_run_is_json_line_by_line(tmp_path):
    with MetricWriter(tmp_path, 0) as writer:
        writer.write(1, {"loss": 2.0, "validation/x/auroc": math.nan})
        writer.write(2, {"loss": math.nan})
    with MetricWriter(tmp_path, 1) as writer:  # resumed: what it keeps is written anew
        writer.write(2, {"loss": 1.0})
    rows = [strict(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows == [
        {"step": 1, "loss": 2.0, "validation/x/auroc": None},
        {"step": 2, "loss": 1.0},
    ]
    assert math.isnan(read_history(tmp_path)[0]["validation/x/auroc"])
