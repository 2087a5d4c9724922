"""A real sweep on the tiny data set: stopped by a signal, continued, with a config that fails."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

import pytest

pytestmark = pytest.mark.slow

STEPS = 160  # four seconds: long enough to be stopped on a busy machine
TINY = (
    f"--config.total_steps={STEPS}",
    "--config.log_every_steps=1",
    "--config.data.global_batch_size=8",
    "--config.data.image_size_px=32",
    "--config.data.crop_px=32",
    "--config.data.max_tokens=12",
    "--config.model.embed_dim=16",
    "--config.eval.every_steps=0",
    "--config.eval.batch_size=8",
    "--config.eval.bootstrap_resamples=20",
    "--config.eval.at_the_end=('retrieval','linear_probe')",
    "--config.checkpoint.every_steps=1000",
)
BROKEN = """
from configs import vit_linear


def get_config(size="full"):
    config = vit_linear.get_config(size)
    config.model.image_encoder.variant = "Q/8"
    return config
"""


def sweep(*arguments: str) -> subprocess.Popen:
    cache = pathlib.Path(tempfile.gettempdir()) / "lumbarclip_jax_tests"
    environment = os.environ | {
        "XLA_FLAGS": "",  # one device is quicker to compile for than the tests' eight
        "LUMBARCLIP_CACHE": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.5",
    }
    return subprocess.Popen(
        [sys.executable, "-m", "lumbarclip_jax.sweep", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def wait_for(path: pathlib.Path, process: subprocess.Popen) -> None:
    while process.poll() is None and not (path.is_file() and path.stat().st_size):
        time.sleep(0.02)


@pytest.fixture(scope="module")
def swept(tiny_dataset, tmp_path_factory):
    """The folder of a sweep that was stopped and continued, and what both commands said."""
    out = tmp_path_factory.mktemp("sweep")
    (out / "a_broken.py").write_text(BROKEN)
    command = (
        f"--configs={{{out}/a_broken,configs/vit_linear}}.py",
        "--size=quick",
        "--seeds=1",
        f"--data_dir={tiny_dataset}",
        f"--out={out}",
        "--resamples=100",
        *TINY,
    )
    first = sweep(*command)
    wait_for(out / "runs" / "vit_linear_seed0" / "metrics.jsonl", first)
    first.send_signal(signal.SIGTERM)
    stopped = first.communicate()[0], first.returncode
    second = sweep(*command)
    return out, stopped, (second.communicate()[0], second.returncode)


def folder(out, model):
    return out / "runs" / f"{model}_seed0"


def test_a_signal_stops_the_sweep_with_its_run_saved(swept):
    out, (said, status), _ = swept
    assert status == 1
    assert "stopped; the same command continues" in said
    log = (folder(out, "vit_linear") / "log.txt").read_text()
    assert "and saved; run the same command to continue" in log


def test_the_same_command_continues(swept):
    out, _, (said, _) = swept
    assert "2 runs, 0 of them complete" in said
    log = (folder(out, "vit_linear") / "log.txt").read_text()
    assert "resuming" in log
    rows = (folder(out, "vit_linear") / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == list(range(1, STEPS + 1))


def test_a_config_that_fails_is_named_and_the_other_is_trained(swept):
    out, _, (said, status) = swept
    assert status == 1
    assert "1 of 2 runs failed: a_broken_seed0" in said
    table = (out / "table.md").read_text()
    assert "- `a_broken_seed0`: ended with status 2:" in table
    assert "ViT variant 'Q' is not one of" in table
    names = {path.name for path in folder(out, "vit_linear").iterdir()}
    assert {"report.html", "metrics.json", "predictions.npz", "log.txt"} <= names


def test_the_table_has_the_numbers_of_the_runs(swept):
    out, _, _ = swept
    table = (out / "table.md").read_text()
    assert "python -m lumbarclip_jax.sweep" in table
    metrics = json.loads((folder(out, "vit_linear") / "metrics.json").read_text())
    name = "test/retrieval/image_to_text_recall_at_1"
    row = next(line for line in table.splitlines() if line.startswith("| ViT, linear |"))
    assert row.startswith(f"| ViT, linear | {metrics[name]:.3f} [")
    chance = next(line for line in table.splitlines() if line.startswith("| chance |"))
    assert chance.startswith(f"| chance | {metrics[name + '_chance']:.3f} |")
