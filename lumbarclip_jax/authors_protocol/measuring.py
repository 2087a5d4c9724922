"""The answers of a run, kept beside the others of the protocol: each is measured once."""

import logging
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from lumbarclip_jax.authors_protocol import answers
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.names import Name
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.sweep.plan import PlannedRun
from lumbarclip_jax.sweep.runner import is_complete

log = logging.getLogger(__name__)

FOLDER = "answers"
FINETUNE = (sys.executable, "-m", "lumbarclip_jax.finetune")


def of_runs(
    runs: Mapping[str, Sequence[PlannedRun]],
    folder: pathlib.Path,
    task: str,
    split: str,
    recipe: Sequence[str],
    jobs: int,
) -> dict[tuple[str, str], list[dict[str, Predictions]]]:
    """What the complete runs of each objective answer, `jobs` at a time; see `of_run`.

    Returns:
      Objective and model -> the answers of each of its seeds.

    Raises:
      ValueError: as `of_run`.
    """
    done = [(objective, run) for objective, of in runs.items() for run in of if is_complete(run)]

    def measured(objective: str, run: PlannedRun) -> dict[str, Predictions]:
        return of_run(run, folder / objective / FOLDER, task, split, recipe)

    found: dict[tuple[str, str], list[dict[str, Predictions]]] = {}
    with ThreadPoolExecutor(jobs) as pool:
        for (objective, run), of in zip(
            done, pool.map(lambda of: measured(*of), done), strict=True
        ):
            found.setdefault((objective, run.model), []).append(of)
    return found


def of_run(
    run: PlannedRun, folder: pathlib.Path, task: str, split: str, recipe: Sequence[str]
) -> dict[str, Predictions]:
    """What a complete run answers, by the ways of `answers`.

    Args:
      run: its fine-tune lies beside its answers.
      folder: gets the answers as `<task>/<run>.npz`, the fine-tune as `<task>/<run>_finetuned/`.
      task: of patients.
      split: that is measured.
      recipe: of the fine-tune, as --recipe.x=value.

    Raises:
      ValueError: the task cannot be answered on this data set, or a fine-tune failed.
    """
    path = folder / task / f"{run.name}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        log.info("%s: measuring", run.name)
        found = _by_embeddings(run, task, split)
        found[answers.FINE_TUNED] = _fine_tuned(run, path.parent, task, split, recipe)
        said = {str(Name(split, way, (task,))): of for way, of in found.items()}
        predictions_file.save_kept(Kept(predictions=said), path)
    kept = predictions_file.load_kept(path).predictions
    return {Name.of_answers(name).evaluator: of for name, of in kept.items()}


def _by_embeddings(run: PlannedRun, task: str, split: str) -> dict[str, Predictions]:
    loaded = load_run(run.folder)
    embedder = loaded.embedder(loaded.dataset())
    splits = {name: embedder(loaded.state, name) for name in (*answers.FITTED_ON, split)}
    return answers.of_embeddings(splits, task, split) | answers.zero_shot(
        embedder, loaded.state, task, split, seed=run.seed
    )


def _fine_tuned(
    run: PlannedRun, folder: pathlib.Path, task: str, split: str, recipe: Sequence[str]
) -> Predictions:
    out = folder / f"{run.name}_finetuned"
    command = [*FINETUNE, f"--workdir={run.folder}", f"--task={task}", f"--split={split}"]
    done = subprocess.run(
        [*command, f"--seed={run.seed}", f"--out={out}", *recipe], capture_output=True, text=True
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ValueError(f"the fine-tune of {run.folder} ended with {done.returncode}: {last}")
    kept = predictions_file.load_kept(out / predictions_file.FILE).predictions
    return next(of for name, of in kept.items() if Name.of_answers(name).path == (task,))
