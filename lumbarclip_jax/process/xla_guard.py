"""Keeps jaxlib's CPU backend from returning wrong sums.

jaxlib 0.10.2 and 0.11.0 fuse reductions through YNNPACK, whose parallel partial sums lose terms
(jax#39103: relative error 0.8 % on a 32,769-row reduction; google/XNNPACK#11243). An empty
``xla_cpu_experimental_ynn_fusion_type`` switches those fusions off. XLA reads the variable when the
backend starts, so the guard must be installed before the first array is made.
"""

import os
import sys
import warnings
from importlib import metadata

FLAG = "--xla_cpu_experimental_ynn_fusion_type"
AFFECTED_JAXLIB = ("0.10.2", "0.11.0")


def install() -> None:
    """Adds the flag to ``XLA_FLAGS`` on affected jaxlib versions; a value set by the user wins.

    The flag is added on affected versions only, because XLA aborts on flags it does not know.
    Warns when a JAX backend is already running, since the flag then has no effect.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if metadata.version("jaxlib") not in AFFECTED_JAXLIB or FLAG in flags:
        return
    os.environ["XLA_FLAGS"] = f"{flags} {FLAG}=".strip()
    bridge = sys.modules.get("jax._src.xla_bridge")
    if bridge is not None and bridge.backends_are_initialized():
        warnings.warn(
            "JAX started before lumbarclip_jax was imported, so its CPU sums may be wrong "
            "(jax#39103): import lumbarclip_jax first, or set XLA_FLAGS=" + FLAG + "=",
            stacklevel=2,
        )
