"""Freed memory: kept on CPU, left alone where an accelerator may be, by what the kernel counts."""

import os
import platform
import subprocess
import sys

import pytest

from lumbarclip_jax.process import host_memory

# Page faults of the second of two equal blocks, taken as XLA takes those of a step.
PROBE = """
import ctypes, resource
from lumbarclip_jax.process import host_memory
{setting}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(200 * 2**20)
    libc.memset(block, 1, 200 * 2**20)
    libc.free(block)
    faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults)
"""
PAGES = 200 * 2**20 // 4096  # larger pages make fewer faults, on either side of the comparison


def faults(setting: str, **environment: str) -> int:
    result = subprocess.run(
        [sys.executable, "-c", PROBE.format(setting=setting)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(result.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc's malloc")
def test_a_block_of_the_size_of_the_last_one_needs_no_new_pages():
    given_back = faults("")
    kept = faults("assert host_memory.keep_freed()", JAX_PLATFORMS="cpu")
    assert kept < given_back / 4
    assert kept < PAGES / 100
    # Where an accelerator computes, nothing is set.
    left_alone = faults("assert not host_memory.keep_freed()", JAX_PLATFORMS="cuda,cpu")
    assert left_alone > given_back / 2


def test_an_accelerator_is_seen_by_what_is_installed(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(host_memory.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr(host_memory.util, "find_spec", lambda name: name == "jax_plugins")
    monkeypatch.setattr(host_memory.ctypes, "CDLL", None)  # would fail, if it came to that
    assert not host_memory.keep_freed()
