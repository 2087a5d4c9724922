"""python -m lumbarclip_jax.bench.evaluation --pairs=100000 --embed_dim=512

Time and memory of the whole retrieval evaluation, with its intervals, on made-up embeddings: both
ways, by image and by patient, every rank against every candidate. Prints one line of JSON. The
clock runs while retrieval does; the memory is the most that this process ever held (VmHWM),
libraries and the embeddings themselves included. How many cores it may use is for the shell to say:
`taskset -c 0,1 python -m ...`.
"""

import json
import os
import pathlib
import platform
import re
import time
from typing import TYPE_CHECKING

import numpy as np
from absl import flags

from data_prep.records.findings import LEVEL_FINDINGS
from data_prep.records.schema import LEVELS
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.process import cli

if TYPE_CHECKING:
    from lumbarclip_jax.evaluators.embedder import EmbeddedSplit


PAIRS = flags.DEFINE_integer("pairs", 100_000, "pairs of an image and a report", 1)
EMBED_DIM = flags.DEFINE_integer("embed_dim", 512, "width of the embeddings", 1)
IMAGES_PER_PATIENT = flags.DEFINE_integer(
    "images_per_patient", 1, "images that share a report; 1 makes every report a candidate", 1, 3
)
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)


class MadeUpEmbedder:
    """Serves one split of embeddings in which a report is a little like its images."""

    level_prefix = False
    splits = ("test",)

    def __init__(self, pairs: int, embed_dim: int, images_per_patient: int):
        # Imported here, after the flags are read: --help should not wait for JAX.
        from lumbarclip_jax.evaluators.embedder import EmbeddedSplit

        rng = np.random.default_rng(0)
        patient = np.arange(pairs) // images_per_patient
        ids = patient.astype(str)
        texts = rng.standard_normal((patient[-1] + 1, embed_dim), dtype=np.float32)[patient]
        images = rng.standard_normal((pairs, embed_dim), dtype=np.float32)
        images += np.float32(0.2) * texts
        for vectors in (images, texts):
            vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        self._split = EmbeddedSplit(
            image_embeds=images,
            image_features=images[:, :0],
            text_features=np.zeros((pairs, 0), np.float32),
            text_embeds=texts,
            report=ids,
            report_group=ids,
            patient_id=ids,
            study_id=ids,
            image_id=np.arange(pairs).astype(str),
            level=np.array(LEVELS)[np.arange(pairs) % len(LEVELS)],
            sequence=np.full(pairs, "T1"),
            findings=np.zeros((pairs, 0), np.uint8),
            level_findings=(rng.random((pairs, len(LEVEL_FINDINGS))) < 0.15).astype(np.uint8),
            pfirrmann=np.zeros(pairs, np.uint8),
            names=(),
            level_names=LEVEL_FINDINGS,
            own_labels=np.zeros((pairs, 0), np.int8),
            tasks=TASKS,
        )

    def __call__(self, state, split: str) -> "EmbeddedSplit":
        return self._split


def peak_memory_bytes() -> int:
    """The most physical memory this process has held so far."""
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0])


def main() -> None:
    from lumbarclip_jax.evaluators.retrieval import Retrieval

    embedder = MadeUpEmbedder(PAIRS.value, EMBED_DIM.value, IMAGES_PER_PATIENT.value)
    evaluator = Retrieval(embedder, split="test", resamples=RESAMPLES.value)
    held_before = peak_memory_bytes()
    started, cpu_started = time.perf_counter(), time.process_time()
    metrics, _ = evaluator.run(state=None)
    measured = {
        "pairs": PAIRS.value,
        "embed_dim": EMBED_DIM.value,
        "images_per_patient": IMAGES_PER_PATIENT.value,
        "resamples": RESAMPLES.value,
        "wall_s": round(time.perf_counter() - started, 2),
        "cpu_s": round(time.process_time() - cpu_started, 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "peak_memory_before_bytes": held_before,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "metrics": {
            name: value for name, value in metrics.items() if not name.endswith(("_low", "_high"))
        },
    }
    print(json.dumps(measured))


if __name__ == "__main__":
    cli.run(main)
