"""The rows of the comparison: their statistics, and where each is kept."""

import json
import pathlib
import re

import numpy as np

RESAMPLES = 10_000


def relative_differences(ours: list[float], theirs: list[float]) -> np.ndarray:
    """|ours - theirs| / |theirs|, element by element."""
    reference = np.asarray(theirs)
    return np.abs(np.asarray(ours) - reference) / np.abs(reference)


def ratio(ours_s: list[float], theirs_s: list[float]) -> dict[str, float]:
    """The median of the ratios of turns taken one after the other, and its 95 % interval.

    What slows a machine for minutes slows both turns of a pair and leaves their ratio. The interval
    is that of a percentile bootstrap over the pairs, the same for the same times.
    """
    ratios = np.asarray(ours_s) / np.asarray(theirs_s)
    drawn = np.random.default_rng(0).integers(len(ratios), size=(RESAMPLES, len(ratios)))
    low, high = np.percentile(np.median(ratios[drawn], axis=1), [2.5, 97.5])
    return {"median": float(np.median(ratios)), "low": float(low), "high": float(high)}


def chip_of(row: dict) -> str:
    """What computed, and on CPU by which kernels of PyTorch's matrix library."""
    machine = row["machine"]
    names = machine["accelerator"] or machine["processor"], machine["matrix_library"]
    return ", ".join(filter(None, names))


def file_name(row: dict) -> str:
    """Of a row, in the folder of rows: another chip makes another row."""
    chip = re.sub(r"\W+", "_", chip_of(row).lower()).strip("_")
    parts = [row["config"], row["device"], chip, row["dtype"], f"b{row['batch_size']}"]
    parts += [f"{row['image_size_px']}px"] + ["random"] * row["is_random"]
    return "-".join(parts) + ".json"


def save(row: dict, folder: pathlib.Path) -> pathlib.Path:
    """Writes a row, over an older one of the same kind."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(row)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(row, indent=1) + "\n")
    return partial.rename(path)


def load_all(folder: pathlib.Path) -> list[dict]:
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
