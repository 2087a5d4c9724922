"""The measurement of evaluation runs, and measures what it says."""

import json
import subprocess
import sys


def test_a_small_evaluation_is_measured():
    module = "lumbarclip_jax.bench.evaluation"
    sizes = ("--pairs=300", "--embed_dim=16", "--images_per_patient=3", "--resamples=100")
    result = subprocess.run(
        [sys.executable, "-m", module, *sizes], capture_output=True, text=True, timeout=120
    )
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert found["pairs"] == found["metrics"]["test/retrieval/images"] == 300
    assert found["metrics"]["test/retrieval/patients"] == 100
    assert found["metrics"]["test/retrieval/text_to_image_map_shared_findings"] > 0
    assert found["peak_memory_bytes"] >= found["peak_memory_before_bytes"] > 2**26
    assert found["wall_s"] > 0


HELD = """
import numpy as np
from lumbarclip_jax.bench.evaluation import peak_memory_bytes

held = np.ones(peak_memory_bytes() + 2**26, np.uint8)  # more than there ever was
assert peak_memory_bytes() >= len(held)
"""


def test_peak_memory_counts_what_is_held():
    """In a process of its own, whose peak is small."""
    result = subprocess.run([sys.executable, "-c", HELD], capture_output=True, timeout=120)
    assert result.returncode == 0, result.stderr
