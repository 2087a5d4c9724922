"""The least time a step can take: the slowest of arithmetic, memory and links, all overlapped."""

import dataclasses

from lumbarclip_jax.bench.chips import Chip


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Seconds a step needs at the published peak rates of its chips."""

    compute_s: float
    hbm_s: float
    ici_s: float

    @property
    def step_s(self) -> float:
        return max(dataclasses.astuple(self))

    @property
    def limit(self) -> str:
        """Which of "compute", "hbm" and "ici" takes longest."""
        times = dataclasses.asdict(self)
        return max(times, key=lambda name: times[name]).removesuffix("_s")


def roofline(
    chip: Chip, chips: int, flops: float, hbm_bytes_a_chip: float, sent_bytes_a_chip: float
) -> Roofline:
    """Times of a step that executes `flops` in bfloat16 over all its chips together."""
    return Roofline(
        compute_s=flops / chips / chip.bf16_flops_per_s,
        hbm_s=hbm_bytes_a_chip / chip.hbm_bytes_per_s,
        ici_s=sent_bytes_a_chip / chip.ici_bytes_per_s,
    )
