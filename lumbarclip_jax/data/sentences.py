"""Reports as sentences, and random excerpts of them for training."""

import re
from collections.abc import Sequence

import numpy as np

# Reports end statements with a full stop, a line break or two and more slashes.
ENDS = re.compile(r"(?<=[.;])\s+|\s*\n+\s*|\s*/{2,}\s*")


def sentences(report: str) -> list[str]:
    """The statements of a report, in order."""
    return [part for part in ENDS.split(report.strip()) if part]


def sample_sentences(report: str, keep: float, seed: int | Sequence[int]) -> str:
    """The report with each sentence kept with probability `keep`, at least one of them.

    A few hundred reports are soon known by heart. Excerpts cannot be, and they make single
    sentences, which is what prompts are, familiar (ConVIRT, arXiv 2010.00747, draws one sentence).
    """
    if keep >= 1.0:
        return report
    parts = sentences(report)
    rng = np.random.default_rng(seed)
    kept = rng.random(len(parts)) < keep
    if len(parts) < 2:
        return report
    if not kept.any():
        kept[rng.integers(len(parts))] = True
    return " ".join(part for part, keep_it in zip(parts, kept, strict=True) if keep_it)
