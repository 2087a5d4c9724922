"""Metrics as JSON, which has no word for a number that is undefined: there it is null, here NaN."""

import json
import math
import pathlib
from collections.abc import Mapping

from data_prep.process.files import disk_errors_name, write_whole

# Beside what `evaluate` and `finetune` measure: how far the run was trained that they measured.
TRAINED_STEPS = "trained_steps"


def cautions(metrics: Mapping[str, float]) -> dict[str, float]:
    """The rows in capitals, with which a file begins that should not be read without them."""
    return {name: value for name, value in metrics.items() if name.isupper()}


def beside(*parts: Mapping[str, float]) -> dict[str, float]:
    """What belongs beside numbers that are pooled over parts; their cautions are added up."""
    joined: dict[str, float] = {}
    for part in parts:
        joined |= {**part, **{k: joined.get(k, 0.0) + v for k, v in cautions(part).items()}}
    return joined


def to_json(metrics: Mapping[str, float], **options) -> str:
    """A JSON object; null stands for what is not finite. `options` are those of `json.dumps`."""
    known = {name: value if math.isfinite(value) else None for name, value in metrics.items()}
    return json.dumps(known, allow_nan=False, **options)


def from_json(text: str) -> dict[str, float]:
    """What `to_json` wrote, NaN for null."""
    return {name: math.nan if value is None else value for name, value in json.loads(text).items()}


def save_metrics(metrics: Mapping[str, float], path: pathlib.Path) -> None:
    """Writes the metrics as JSON, sorted by name; whole or not at all.

    Raises:
      OSError: the file cannot be written.
    """
    text = to_json(dict(sorted(metrics.items())), indent=2) + "\n"
    with disk_errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text.encode())


def read_metrics(path: pathlib.Path) -> dict[str, float]:
    """Reads a file of `save_metrics`.

    Raises:
      ValueError: the file is damaged.
    """
    try:
        return from_json(path.read_text())
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} is damaged: measure again, which writes it anew") from error
