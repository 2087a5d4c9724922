"""Published peak rates of accelerators."""

import dataclasses

GIB = 2**30

# On-chip memory that holds arrays between operations: that of v5e and v6e, the largest of these
# chips (jax-ml.github.io/scaling-book/tpus).
VECTOR_MEMORY_BYTES = 128 * 2**20


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip, all its TensorCores together."""

    bf16_flops_per_s: float
    hbm_bytes: int
    hbm_bytes_per_s: float
    ici_bytes_per_s: float  # that it can send at once, over all its links, in one direction


# Cloud TPU documentation, pages "TPU v4", "TPU v5e", "TPU v5p" and "TPU v6e" (cloud.google.com/tpu/
# docs/v4, v5e, v5p, v6e): "peak compute per chip (bf16)", "HBM capacity" and "HBM bandwidth". Those
# of v5e, v5p and v6e give "bidirectional ICI bandwidth per chip", 400, 1200 and 800 GB/s: half of
# it is one direction. That of v4 gives none: six links of 50 GB/s, Jouppi et al. 2023 (ISCA,
# arXiv 2304.01433).
CHIPS = {
    "v4": Chip(275e12, 32 * GIB, 1200e9, 300e9),
    "v5e": Chip(197e12, 16 * GIB, 819e9, 200e9),
    "v5p": Chip(459e12, 95 * GIB, 2765e9, 600e9),
    "v6e": Chip(918e12, 32 * GIB, 1600e9, 400e9),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as "v5e:4x4".

    Raises:
      ValueError: the name has no chip that is known here, or no shape.
    """
    name, _, shape = topology.partition(":")
    if name not in CHIPS or not shape:
        raise ValueError(
            f"--topology={topology!r} is not one of {', '.join(CHIPS)} and a shape: write v5e:4x4"
        )
    return CHIPS[name]


# By what JAX calls the device (`device_kind`), all TensorCores of a TPU chip together. GPUs: dense
# bfloat16 of the data sheets "NVIDIA A100", "H100" and "H200", without sparsity, SXM forms.
BF16_FLOPS_PER_S = {
    "TPU v4": CHIPS["v4"].bf16_flops_per_s,
    "TPU v5 lite": CHIPS["v5e"].bf16_flops_per_s,
    "TPU v5": CHIPS["v5p"].bf16_flops_per_s,
    "TPU v6 lite": CHIPS["v6e"].bf16_flops_per_s,
    "NVIDIA A100-SXM4-40GB": 312e12,
    "NVIDIA A100-SXM4-80GB": 312e12,
    "NVIDIA H100 80GB HBM3": 989e12,
    "NVIDIA H200": 989e12,
}
