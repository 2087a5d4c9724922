"""Keeps memory that was freed, on machines where the CPU computes (Linux with glibc).

A training step on CPU works in one block of a few GiB, which XLA takes from `malloc` and frees
again. glibc returns blocks of that size to the kernel, so every step waits while the kernel hands
out and clears each page anew: a third of a step of ResNet-50 and BERT, twice that in a virtual
machine whose host takes free pages back. Kept, the next step finds the block as it was left.
"""

import ctypes
import os
import platform
from importlib import metadata, util

# Of mallopt(3). The names in malloc.h are M_TRIM_THRESHOLD and M_MMAP_MAX.
TRIM_THRESHOLD, MMAP_MAX = -1, -4


def keep_freed() -> bool:
    """Lets `malloc` keep what is freed, for the life of this process; returns whether it does.

    Changes nothing where JAX may compute on an accelerator: there the host's memory is in many
    small pieces, taken by many threads. Call it before JAX starts, which a setting of JAX is read
    by.
    """
    if platform.libc_ver()[0] != "glibc" or _may_use_accelerator():
        return False
    # Not at the top: a command with a mistyped option should not wait for this import.
    import jax

    # Steps then take their block in the main thread: the heap of another cannot hold it, and a
    # single heap for all threads makes compiling and products slower by a third.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    libc = ctypes.CDLL(None)
    settings = {MMAP_MAX: 0, TRIM_THRESHOLD: -1}
    return all([libc.mallopt(name, value) for name, value in settings.items()])


def _may_use_accelerator() -> bool:
    """Whether JAX may find one; asking JAX itself would start it."""
    platforms = os.environ.get("JAX_PLATFORMS", "")
    if platforms:
        return platforms != "cpu"
    return bool(metadata.entry_points(group="jax_plugins")) or any(
        util.find_spec(name) for name in ("jax_plugins", "libtpu")
    )
