"""All that was measured on a run: when training ended, by `evaluate` and by `finetune` later.

Besides its own numbers the page of a run shows those of `<run>/evaluate/*.json` and of
`<run>/finetune/*/metrics.json`, which is where `finetune` writes by default.
"""

import collections
import dataclasses
import pathlib
from collections.abc import Iterator

from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.metrics_file import TRAINED_STEPS, read_metrics
from lumbarclip_jax.evaluators.names import Name
from lumbarclip_jax.evaluators.suite import BY_STUDY
from lumbarclip_jax.run_folder import choice
from lumbarclip_jax.run_folder.files import EVALUATE_FOLDER, FINETUNE_FOLDER, METRICS_FILE


@dataclasses.dataclass(frozen=True)
class Measured:
    """Metrics by name, answers by `<split>/<evaluator>/<what>`, and what is left out as outdated.

    The files in `outdated` were measured on the weights of another step of the same run.
    """

    metrics: dict[str, float]
    predictions: dict[str, Predictions]
    outdated: tuple[str, ...] = ()


def read_measured(folder: pathlib.Path, steps: int) -> Measured:
    """Reads what there is of a run that was trained for `steps`, 0 when that is not known.

    Of numbers under the same name the run's own come first. Fine-tunes of the same task are told
    apart by their folder: `test/finetune (NAME)/...`, and what was measured by study of a run that
    measured by image, or the other way round, by that: `test/retrieval (by study)/...`.
    """
    steps = choice.read(folder).get("step", steps)
    own = found = _read(folder / METRICS_FILE)
    fine_tunes, outdated = {}, []
    for path in _files(folder):
        one = _read(path)
        if steps and one.metrics.get(TRAINED_STEPS, steps) != steps:
            outdated.append(str(path.relative_to(folder)))
        elif path.parent.name == EVALUATE_FOLDER:
            found = _both(_beside(one, own), found)
        else:
            fine_tunes[path.parent.name] = one
    folders_of = collections.Counter(
        task for one in fine_tunes.values() for task in set(map(_task, one.metrics)) - {None}
    )
    shared = {task for task, folders in folders_of.items() if task and folders > 1}
    for name, one in fine_tunes.items():
        found = _both(_renamed(one, shared, name), found)
    return dataclasses.replace(found, outdated=tuple(outdated))


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    yield from sorted((folder / EVALUATE_FOLDER).glob("*.json"))
    yield from sorted((folder / FINETUNE_FOLDER).glob(METRICS_FILE))
    yield from sorted((folder / FINETUNE_FOLDER).glob(f"*/{METRICS_FILE}"))


def _read(path: pathlib.Path) -> Measured:
    answers = predictions_file.beside(path)
    return Measured(
        read_metrics(path) if path.is_file() else {},
        predictions_file.load_kept(answers).predictions if answers.is_file() else {},
    )


def _task(name: str) -> Name | None:
    """The first three parts of what a number or an answer is called: split, evaluator and task."""
    if name.count("/") < 2:
        return None
    called = Name.of_answers(name)
    return dataclasses.replace(called, path=called.path[:1])


def _both(added: Measured, own: Measured) -> Measured:
    return Measured(added.metrics | own.metrics, added.predictions | own.predictions)


def _beside(one: Measured, own: Measured) -> Measured:
    """With its unit in the names of evaluators, where it is not that of the run's own numbers."""
    if not own.metrics or (BY_STUDY in one.metrics) == (BY_STUDY in own.metrics):
        return one
    unit = "by study" if BY_STUDY in one.metrics else "by image"

    def rename(name: str) -> str:
        split, slash, rest = name.partition("/")
        evaluator, another, path = rest.partition("/")
        return f"{split}/{evaluator} ({unit})/{path}" if slash and another else name

    metrics = {rename(name): value for name, value in one.metrics.items() if name != BY_STUDY}
    return Measured(metrics, {rename(name): said for name, said in one.predictions.items()})


def _renamed(one: Measured, shared: set[Name], folder: str) -> Measured:
    """With the folder in the name of the evaluator, for the tasks that are `shared`."""

    def rename(name: str) -> str:
        if (called := _task(name)) not in shared:
            return name
        renamed = dataclasses.replace(called, evaluator=f"{called.evaluator} ({folder})")
        return name.replace(str(called), str(renamed), 1)

    return Measured(
        {rename(name): value for name, value in one.metrics.items()},
        {rename(name): predicted for name, predicted in one.predictions.items()},
    )
