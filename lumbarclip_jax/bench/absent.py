"""Devices that are not there, described well enough for their compilers."""

import importlib.util
from importlib import metadata

import jax
from jax.experimental import topologies

from lumbarclip_jax.bench.chips import GPU_SHARE, Gpu, chip_of

CUDA_PLUGINS = ("jax_cuda13_plugin", "jax_cuda12_plugin")

# In the text form of XLA's GpuTargetConfigProto. Where nothing is filled in, it is the same for all
# GPUs of capability 8 and 9 (CUDA C++ Programming Guide, table "Technical Specifications").
GPU_DESCRIPTION = """
platform_name: "CUDA"
device_description_str: "{gpu.name}"
gpu_device_info {{
  cuda_compute_capability {{ major: {gpu.capability} }}
  core_count: {gpu.multiprocessors}
  fpus_per_core: {gpu.fp32_lanes}
  clock_rate_ghz: {gpu.clock_ghz}
  device_memory_size: {memory_bytes}
  memory_bandwidth: {gpu.hbm_bytes_per_s:.0f}
  l2_cache_size: {gpu.cache_bytes}
  shared_memory_per_core: {gpu.shared_memory_bytes}
  shared_memory_per_block_optin: {block_bytes}
  shared_memory_per_block: 49152
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}}
"""


def devices_of(topology: str) -> list[jax.Device]:
    """The devices of a TPU slice such as "v5e:4x4", one a chip, or of GPUs such as "h200:8".

    Raises:
      ValueError: their compiler is not installed, or there is no such topology.
    """
    chip = chip_of(topology)
    compiler(topology)  # raises if it is not installed
    try:
        if isinstance(chip, Gpu):
            description = _gpus(chip, topology.partition(":")[2])
        else:
            # The two TensorCores of a v4 are one device to JAX on a TPU, but not to the compiler
            # alone.
            options = {"chip_config_name": "megacore"} if topology.startswith("v4:") else {}
            description = topologies.get_topology_desc(
                platform="tpu", topology_name=topology, **options
            )
    except jax.errors.JaxRuntimeError as error:
        raise ValueError(f"--topology={topology!r} cannot be compiled for: {error}") from error
    return list(description.devices)


def compiler(topology: str) -> dict[str, str]:
    """The package that compiles for a topology, with its version.

    Raises:
      ValueError: it is not installed.
    """
    if isinstance(chip_of(topology), Gpu):
        packages, kind, extra = CUDA_PLUGINS, "GPU", "cuda13"
    else:
        packages, kind, extra = ("libtpu",), "TPU", "tpu-aot"
    for package in packages:
        if importlib.util.find_spec(package):
            return {package: metadata.version(package)}
    raise ValueError(
        f"compiling for a {kind} needs the package {packages[0]}, which is not installed: "
        f"pip install 'lumbarclip_jax[{extra}]'"
    )


def _gpus(gpu: Gpu, count: str):
    if not count.isdecimal() or not int(count):
        raise ValueError(f"{count!r} is no number of GPUs: write h200:8")
    description = GPU_DESCRIPTION.format(
        gpu=gpu,
        memory_bytes=round(gpu.hbm_bytes / GPU_SHARE),
        block_bytes=gpu.shared_memory_bytes - 2**10,
    )
    # GPUs of one process: slices x hosts x GPUs.
    return topologies.get_topology_desc(
        platform="cuda",
        topology_name=gpu.name,
        topology=f"1x1x{int(count)}",
        target_config=description,
    )
