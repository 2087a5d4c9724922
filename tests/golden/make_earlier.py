"""Writes `earlier/`: what the commands left on disk on the day it was made, for later ones to open.

    python -m tests.golden.make_earlier

A data set of 24 made-up patients, a tiny run on it, a classifier, exports of both, and
`answers.json` with what they answer. Made anew only if a format is given up for good.
"""

import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import jax
import numpy as np

import lumbarclip_jax
from lumbarclip_jax.run_folder import checksums
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training import train_step
from tests import data_prep_cohort as cohort

FOLDER = pathlib.Path(__file__).with_name("earlier")
TASK = "pfirrmann_ge_3"
TRAIN = "main --config=tests/golden/tiny_vit.py --config.data.dir={0}/data --workdir={0}/run"
COMMANDS = (
    TRAIN,
    f"finetune --workdir={{0}}/run --task={TASK} --recipe.epochs=1 --recipe.members=1 "
    "--recipe.batch_size=8 --resamples=100 --out={0}/classifier",
    "export --workdir={0}/run --format=safetensors --out={0}/exported/run",
    "export --workdir={0}/classifier --format=safetensors --out={0}/exported/classifier",
)
# Goes on from the run's last step.
RESUME = TRAIN + " --config.total_steps=6 --config.eval.at_the_end=('retrieval',)"


def answers(folder: pathlib.Path) -> dict:
    """What a run or classifier in `folder` says of the same pictures, and a run of a text."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1), np.uint8)
    model = lumbarclip_jax.load(folder)
    if hasattr(model, "classify"):
        probabilities, classes = model.classify(images, level="L4-L5")[TASK]
        return {"probabilities": probabilities.tolist(), "classes": list(classes)}
    return {
        "image_embeds": model.encode_image(images).tolist(),
        "text_embeds": model.encode_text(["A disc protrusion."], level="L4-L5").tolist(),
    }


def digest(tree) -> str:
    """The sha256 of all arrays of a tree, with their names."""
    found = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        found.update(jax.tree_util.keystr(path).encode() + np.asarray(leaf).tobytes())
    return found.hexdigest()


def saved_state(run: pathlib.Path):
    """All of the newest state in `run`, as training goes on from it."""
    opened = load_run(run)
    abstract, _ = train_step.abstract_train_state(opened.model, opened.config, opened.mesh)
    with Checkpointer(run) as checkpointer:
        return checkpointer.restore(abstract)[0]


def losses(run: pathlib.Path) -> list[float]:
    rows = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [row["loss"] for row in rows if "loss" in row]


def command(line: str, folder: pathlib.Path) -> None:
    words = ("-m lumbarclip_jax." + line.format(folder)).split()
    subprocess.run([sys.executable, *words], check=True)


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(cohort.tiny_set(pathlib.Path(scratch)), FOLDER / "data")
    # As typed, from the repository: the paths that are kept name no machine.
    place = FOLDER.relative_to(pathlib.Path.cwd())
    for line in COMMANDS:
        command(line, place)
    run = FOLDER / "run"
    said = {name: answers(FOLDER / name) for name in ("run", "classifier")}
    said["state"] = digest(saved_state(run))
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(run, resumed := pathlib.Path(scratch) / "run")
        command(f"{RESUME} --workdir={resumed}", place)
        said["losses"] = losses(resumed)
    (FOLDER / "answers.json").write_text(json.dumps(said, indent=1) + "\n")
    # Pictures of all this, which nothing reads, and where this machine keeps the repository.
    for unused in ("report.html", "figures", "tensorboard", "finetune", ".lock"):
        path = run / unused
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    checkpoint = run / "checkpoints" / "4"
    for marker in checkpoint.rglob("commit_success.txt"):
        marker.write_text("")
    sums = checkpoint / checksums.FILE
    checksums.write_list(sums, checksums.digests(checkpoint, list(checksums.read(sums))))


if __name__ == "__main__":
    main()
