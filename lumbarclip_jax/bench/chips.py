"""Published peak rates of accelerators."""

import dataclasses

GIB = 2**30
MIB = 2**20


@dataclasses.dataclass(frozen=True)
class Chip:
    """Peak rates of one chip, all its TensorCores together."""

    bf16_flops_per_s: float
    hbm_bytes: int  # that a process gets
    hbm_bytes_per_s: float
    ici_bytes_per_s: float  # that it can send at once, over all its links, in one direction
    # On-chip memory that holds arrays between operations: that of v5e and v6e, the largest of the
    # TPUs (jax-ml.github.io/scaling-book/tpus).
    cache_bytes: int = 128 * MIB


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gpu(Chip):
    """A GPU, and what its compiler wants to know besides.

    Its links are NVLink, its cache is the L2.
    """

    name: str  # that JAX has for it, `device_kind`
    capability: int  # CUDA compute capability, major
    multiprocessors: int
    fp32_lanes: int  # of a multiprocessor
    clock_ghz: float
    shared_memory_bytes: int  # of a multiprocessor; a block can have all but 1 KiB


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

# Of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise
# (docs.jax.dev/en/latest/gpu_memory_allocation.html).
GPU_SHARE = 0.75

# The data sheets "NVIDIA A100" (80 GB), "H100" and "H200", SXM forms: bfloat16 of the Tensor Cores
# without sparsity, memory, its bandwidth, and half of NVLink's, which counts both directions. The
# rest is of the whitepapers "NVIDIA A100 Tensor Core GPU Architecture" and "NVIDIA H100 Tensor Core
# GPU Architecture".
_H100 = Gpu(
    989e12,
    round(GPU_SHARE * 80e9),
    3350e9,
    450e9,
    cache_bytes=50 * MIB,
    name="NVIDIA H100 80GB HBM3",
    capability=9,
    multiprocessors=132,
    fp32_lanes=128,
    clock_ghz=1.98,
    shared_memory_bytes=228 * 2**10,
)
GPUS = {
    "a100": Gpu(
        312e12,
        round(GPU_SHARE * 80e9),
        2039e9,
        300e9,
        cache_bytes=40 * MIB,
        name="NVIDIA A100-SXM4-80GB",
        capability=8,
        multiprocessors=108,
        fp32_lanes=64,
        clock_ghz=1.41,
        shared_memory_bytes=164 * 2**10,
    ),
    "h100": _H100,
    "h200": dataclasses.replace(
        _H100, hbm_bytes=round(GPU_SHARE * 141e9), hbm_bytes_per_s=4800e9, name="NVIDIA H200"
    ),
}


def chip_of(topology: str) -> Chip:
    """The chip of a topology such as "v5e:4x4" or "h200:8".

    Raises:
      ValueError: the name has no chip that is known here, or no shape.
    """
    name, _, shape = topology.partition(":")
    known = CHIPS | GPUS
    if name not in known or not shape:
        raise ValueError(
            f"--topology={topology!r} is not one of {', '.join(known)} and a shape: "
            "write v5e:4x4 or h200:8"
        )
    return known[name]


# By what JAX calls the device (`device_kind`), all TensorCores of a TPU chip together.
BF16_FLOPS_PER_S = {
    "TPU v4": CHIPS["v4"].bf16_flops_per_s,
    "TPU v5 lite": CHIPS["v5e"].bf16_flops_per_s,
    "TPU v5": CHIPS["v5p"].bf16_flops_per_s,
    "TPU v6 lite": CHIPS["v6e"].bf16_flops_per_s,
    "NVIDIA A100-SXM4-40GB": GPUS["a100"].bf16_flops_per_s,
} | {gpu.name: gpu.bf16_flops_per_s for gpu in GPUS.values()}
