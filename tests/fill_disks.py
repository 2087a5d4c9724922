"""Fills the disk that a command writes to, makes room, and runs the command again.

    python tests/fill_disks.py --disks=20 --seed=0

Training, measuring, fine-tuning, drawing the page, exporting, a sweep and a build write in turn to
a disk with room for a part of what they write. Each has to end by itself with an error status and
one sentence about the disk, and to succeed once there is room; a run must then be that of a disk
that was never full. Needs root, to mount a disk of a stated size in memory. Prints a summary as
JSON; the exit status is 1 when something was not as it should be.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from tests.disturb_runs import REPOSITORY, RUN_S, Disturbances

FULL_S = 120  # in which a command has to notice, from its start on
FULL = re.compile(r"(cannot be written|No space left|make room)", re.IGNORECASE)
PAGE = 4096
SMALL = (
    "--config.total_steps=4 --config.optim.warmup_steps=1 --config.data.global_batch_size=8 "
    "--config.data.image_size_px=32 --config.data.crop_px=32 --config.data.max_tokens=12 "
    "--config.model.embed_dim=16 --config.eval.bootstrap_resamples=20"
)


class Commands:
    """What is run on a full disk: each command with a folder to write to."""

    def __init__(self, runs: Disturbances):
        run, data = runs.folder / "undisturbed", runs.folder
        evaluate = f"lumbarclip_jax.evaluate --workdir={run} --evaluators=retrieval,zero_shot"
        tuned = f"lumbarclip_jax.finetune --workdir={run} --task=pfirrmann_ge_3 --strategy=erm"
        tiny = "--config.eval.every_steps=6"
        self.of = {
            "train": f"lumbarclip_jax.main --config=tests/distributed_config.py {tiny} "
            f"--config.data.dir={runs.dataset} --workdir=DISK/run",
            "evaluate": f"{evaluate} --resamples=100 --out=DISK/more/m.json",
            "finetune": f"{tuned} --recipe.epochs=1 --resamples=100 --out=DISK/tuned",
            "report": f"lumbarclip_jax.report --workdir={run} --out=DISK/page.html",
            "export": f"lumbarclip_jax.export --workdir={run} --format=safetensors --out=DISK/x",
            "sweep": "lumbarclip_jax.sweep --configs=configs/vit_linear.py --size=quick --seeds=1 "
            f"--resamples=100 --data_dir={runs.dataset} --out=DISK/sweep {SMALL}",
            "build": f"data_prep.build --images={data} --reports={data}/reports.csv --size_px=32 "
            f"--key_file={data}/dataset.key --workers=1 --out=DISK/set",
        }

    def run(self, name: str, disk: pathlib.Path, timeout_s: int) -> tuple[int | None, str]:
        """(exit status, standard error); the status is None when it had to be ended."""
        environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", *self.of[name].replace("DISK", str(disk)).split()]
        try:
            ended = subprocess.run(
                command,
                cwd=REPOSITORY,
                env=environment,
                capture_output=True,
                text=True,
                timeout=timeout_s,
            )
        except subprocess.TimeoutExpired as error:
            return None, (error.stderr or b"").decode(errors="replace")
        return ended.returncode, ended.stdout + ended.stderr


def fill(runs: Disturbances, count: int) -> None:
    """Runs the commands in turn on `count` disks."""
    commands = Commands(runs)
    sizes: dict[str, int] = {}
    for number in range(count):
        # Training has most to lose.
        name = "train" if number % 2 == 0 else list(commands.of)[1 + number // 2 % 6]
        if name not in sizes:
            whole = runs.folder / f"whole_{name}"
            whole.mkdir()
            status, said = commands.run(name, whole, RUN_S)
            sizes[name] = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
            runs.note(f"{name} with room", status == 0, f"{name}: {status}, {said[-300:]}")
        disk = runs.folder / f"disk{number}"
        disk.mkdir()
        size = int(runs.rng.uniform(0.02, 0.8) * sizes[name]) // PAGE * PAGE + PAGE
        mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        subprocess.run(mount, check=True)
        try:
            started = time.monotonic()
            status, said = commands.run(name, disk, FULL_S)
            runs.slowest_s = max(runs.slowest_s, time.monotonic() - started)
            detail = f"disk{number}, {name}, {size} bytes: {status}, {said[-400:]}"
            noticed = status in (1, 2) and bool(FULL.search(said))
            runs.note(f"{name} on a full disk", noticed, detail)
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            status, said = commands.run(name, disk, RUN_S)
            runs.note(
                f"{name} again", status == 0, f"disk{number}, {name}: {status}, {said[-400:]}"
            )
            if name == "train" and status == 0:
                runs.compare(f"disk{number}/run")
        finally:
            subprocess.run(["umount", str(disk)], check=True)


def main() -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--disks", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = Disturbances(pathlib.Path(folder), options.seed)
        fill(runs, options.disks)
    print(runs.summary())
    return int(bool(runs.faults))


if __name__ == "__main__":
    sys.exit(main())
