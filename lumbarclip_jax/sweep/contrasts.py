"""Which models of a sweep are compared, and their paired differences."""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from lumbarclip_jax.sweep.results import Results
from lumbarclip_jax.sweep.sampling import Sampled, holm

Measure = TypeVar("Measure", bound=Hashable)

HEADS = ("linear", "mlp")
SIGNIFICANT = 0.05


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One model less another, `than`; `p_holm` is adjusted over the contrasts of a measure."""

    than: str
    difference: Sampled
    p: float
    p_holm: float

    @property
    def sign(self) -> int:
        """1 when the model's number is significantly higher, -1 when lower, else 0."""
        if self.p_holm >= SIGNIFICANT:
            return 0
        return 1 if self.difference.value > 0 else -1


def of_heads(every: Sequence[Results]) -> list[tuple[str, str]]:
    """(linear, MLP) of every encoder that has both on the same seeds, and only one of each."""
    pairs = []
    for encoder in dict.fromkeys(results.encoder for results in every):
        heads = {
            head: [r for r in every if r.encoder == encoder and r.head == head] for head in HEADS
        }
        if all(len(found) == 1 for found in heads.values()):
            linear, mlp = heads["linear"][0], heads["mlp"][0]
            if linear.seeds == mlp.seeds:
                pairs.append((linear.model, mlp.model))
    return pairs


def with_baseline(every: Sequence[Results], baseline: str) -> list[tuple[str, str]]:
    """(baseline, model) of every other model on the same seeds."""
    first = [results for results in every if results.model == baseline]
    return [
        (baseline, results.model)
        for results in every
        if results.model != baseline and first and results.seeds == first[0].seeds
    ]


def between(
    pairs: Sequence[tuple[str, str]],
    measures: Sequence[Measure],
    cells: Mapping[tuple[str, Measure], Sampled],
) -> dict[tuple[str, Measure], Contrast]:
    """The second less the first of every pair, by the second and each measure that both have."""
    found = {}
    for measure in measures:
        here = [(a, b) for a, b in pairs if (a, measure) in cells and (b, measure) in cells]
        differences = [cells[b, measure] - cells[a, measure] for a, b in here]
        p_values = [difference.p_value for difference in differences]
        for (than, model), difference, p, adjusted in zip(
            here, differences, p_values, holm(p_values), strict=True
        ):
            found[model, measure] = Contrast(than, difference, p, adjusted)
    return found
