"""A classifier on disk: `classifier.json`, its weights, and whom it was trained on.

`classifier.json` has all that the weights do not say and the sha256 of the files beside it, and
seals itself with its own.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors.numpy
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

import lumbarclip_jax
from data_prep.process.files import disk_errors_name, write_whole
from data_prep.records.schema import LEVELS
from lumbarclip_jax.data import content
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.finetune import initial_encoder
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.measuring import Fitted
from lumbarclip_jax.finetune.network import Ensemble, Network
from lumbarclip_jax.finetune.recipe import upgraded
from lumbarclip_jax.run_folder import checksums, trained_patients, weights_file
from lumbarclip_jax.run_folder.files import CONFIG_FILE, METRICS_FILE

FILE = "classifier.json"
WEIGHTS_FILE = "classifier.safetensors"
VERSION = 2  # in which the recipe has the groups of a run config
READ = (1, 2)
AGAIN = "restore it from a copy, or fine-tune again"


@dataclasses.dataclass(frozen=True)
class Definition:
    """What `classifier.json` says; every field is plain JSON."""

    name: str  # what its numbers are filed under: finetune, from_scratch or small_cnn
    tasks: dict[str, list[str]]  # names of the classes of each task
    levels: list[str]  # columns of the input that says which disc an image shows
    encoder: dict[str, Any]  # see `initial_encoder.definition`
    dtype: str
    crop_px: int
    image_size_px: int
    cosine_scale: float | None
    recipe: dict[str, Any]  # see `recipe.py`
    strategy: str
    seed: int
    label_fraction: float
    epochs_kept: list[int]  # of each member
    level_counts: dict[str, dict[str, list[int]]]  # as in `Fitted`
    temperatures: dict[str, float]  # as in `Fitted`
    trained_on: dict[str, int]  # images and patients
    # The run whose image encoder it starts from: name, steps, and whether that was trained on
    # another data set. Empty of new weights.
    begun_from: dict[str, Any]
    data_dir: str  # where its data set was; empty in an export
    data: dict[str, Any]  # manifest of that data set, see `content.summary`
    versions: dict[str, str]  # of the packages it was trained with
    files: dict[str, str] = dataclasses.field(default_factory=dict)  # sha256 of those beside it

    @property
    def fitted(self) -> Fitted:
        return Fitted(self.level_counts, self.temperatures)


def versions() -> dict[str, str]:
    """Of the packages that decide what a network computes."""
    named = ("jax", "flax", "optax", "numpy")
    return {"lumbarclip_jax": lumbarclip_jax.__version__} | {
        name: importlib.metadata.version(name) for name in named
    }


def define(
    name: str,
    ensemble: Ensemble,
    part: Examples,
    fitted: Fitted,
    *,
    strategy: str,
    seed: int,
    label_fraction: float = 1.0,
    begun_from: Mapping[str, Any] | None = None,
) -> Definition:
    """The definition of an ensemble that was trained on `part`; the rest as in `Definition`."""
    network, initial = ensemble.network, ensemble.network.initial
    return Definition(
        name=name,
        tasks={task.name: list(task.classes) for task in part.tasks},
        levels=list(LEVELS),
        encoder=initial_encoder.definition(initial.encoder),
        dtype=initial.dtype,
        crop_px=initial.crop_px,
        image_size_px=initial.image_size_px,
        cosine_scale=network.model.cosine_scale,
        recipe=network.recipe.to_dict(),
        strategy=strategy,
        seed=seed,
        label_fraction=label_fraction,
        epochs_kept=list(ensemble.epochs),
        level_counts=fitted.level_counts,
        temperatures=fitted.temperatures,
        trained_on={"images": len(part), "patients": len(np.unique(part.columns.patient_id))},
        begun_from=dict(begun_from or {}),
        data_dir=str(part.dataset.folder),
        data=content.summary(part.dataset.manifest),
        versions=versions(),
    )


def save(
    folder: pathlib.Path,
    definition: Definition,
    ensemble: Ensemble,
    trained: frozenset[str] | None,
) -> None:
    """Writes a classifier, `classifier.json` last: a folder that has it has all.

    Args:
      folder: made where it is missing.
      definition: its `files` are filled in here.
      ensemble: the weights.
      trained: digests of the patients that the weights have seen; None where these are not known.

    Raises:
      OSError: a file cannot be written.
    """
    members = {f"member_{place}": of for place, of in enumerate(ensemble.members)}
    remove(folder)
    with disk_errors_name(folder):
        folder.mkdir(parents=True, exist_ok=True)
    files = {WEIGHTS_FILE: safetensors.numpy.save(weights_file.flat(members))}
    if trained is not None:
        files[trained_patients.FILE] = trained_patients.text(trained).encode()
    for name, written in files.items():
        write_whole(folder / name, written)
    write_definition(folder, definition)


def write_definition(folder: pathlib.Path, definition: Definition) -> None:
    """Writes `classifier.json` beside the files it names.

    Raises:
      OSError: it cannot be written.
    """
    names = [name for name in (WEIGHTS_FILE, trained_patients.FILE) if (folder / name).is_file()]
    stated = dataclasses.asdict(definition) | {"files": checksums.digests(folder, names)}
    stated = {"version": VERSION} | stated
    text = json.dumps(stated | {"seal": _seal(stated)}, indent=2) + "\n"
    write_whole(folder / FILE, text.encode())


def remove(folder: pathlib.Path) -> None:
    """Takes the classifier of a folder away, if it holds one; all else stays."""
    # A run has a list of patients too, which is none of a classifier's.
    if not any((folder / name).is_file() for name in (FILE, WEIGHTS_FILE)):
        return
    for name in (FILE, WEIGHTS_FILE, trained_patients.FILE):
        (folder / name).unlink(missing_ok=True)


def _seal(stated: dict) -> str:
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def holds(folder: pathlib.Path) -> bool:
    """Whether a folder is that of a classifier, and not of a run.

    Raises:
      FileNotFoundError: it has the numbers of a fine-tune and no classifier.
      ValueError: it holds several, in folders of their own.
    """
    if any((folder / name).is_file() for name in (FILE, WEIGHTS_FILE)):
        return True
    if (folder / CONFIG_FILE).is_file():
        return False
    if several := sorted(folder.glob(f"*/{FILE}")):
        raise ValueError(
            f"{folder} is no classifier but holds {len(several)}: name one of them, such as "
            f"{several[0].parent}"
        )
    if all((folder / name).is_file() for name in (METRICS_FILE, predictions_file.FILE)):
        raise FileNotFoundError(
            f"{folder} has numbers and no classifier (no {FILE}): fine-tunes of earlier versions "
            "and the baseline `pixels` keep none; fine-tune again with "
            "`python -m lumbarclip_jax.finetune`"
        )
    return False


def read(folder: pathlib.Path) -> Definition:
    """Reads `classifier.json` once the files beside it are those it names.

    Raises:
      FileNotFoundError: a file is missing.
      ValueError: a file is not the one that was saved, or exported.
    """
    if (folder / checksums.FILE).is_file():
        checksums.verify(folder, required=(FILE, WEIGHTS_FILE))
    path = folder / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {AGAIN}")
    try:
        stated = json.loads(path.read_text(encoding="utf-8"))
        seal, version = stated.pop("seal"), stated["version"]
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is cut or damaged: {AGAIN}") from error
    if seal != _seal(stated):
        raise ValueError(f"{path} was changed after the classifier was saved: {AGAIN}")
    if stated.pop("version") not in READ:
        raise ValueError(
            f"{path} has version {version}, this program reads {' and '.join(map(str, READ))}: "
            "load it with the version of lumbarclip_jax that wrote it"
        )
    definition = Definition(**stated)
    for name, actual in checksums.changed(folder, definition.files):
        if actual:
            raise ValueError(f"{folder / name} is not the file that {FILE} names: {AGAIN}")
        if name == WEIGHTS_FILE:  # without the list of patients it can be used, and says so
            raise FileNotFoundError(f"{folder / name} is missing: {AGAIN}")
    return definition


def load(folder: pathlib.Path) -> tuple[Definition, Ensemble]:
    """The classifier of a folder.

    Raises:
      FileNotFoundError, ValueError: as `read`; the weights are of another classifier.
    """
    definition = read(folder)
    initial = initial_encoder.InitialEncoder(
        initial_encoder.defined(definition.encoder, definition.dtype),
        definition.crop_px,
        definition.image_size_px,
        dtype=definition.dtype,
    )
    heads = tuple((task, len(classes)) for task, classes in definition.tasks.items())
    recipe = ConfigDict(upgraded(definition.recipe))
    network = Network(initial, heads, recipe, definition.cosine_scale)
    path = folder / WEIGHTS_FILE
    arrays = safetensors.numpy.load_file(path)
    names = [f"member_{place}" for place in range(len(definition.epochs_kept))]
    weights_file.require_fit(path, arrays, dict.fromkeys(names, network.shapes), FILE)
    everywhere = NamedSharding(network.mesh, PartitionSpec())
    placed = weights_file.nested(jax.device_put(arrays, everywhere))
    members = tuple(placed[name] for name in names)
    return definition, Ensemble(network, members, tuple(definition.epochs_kept))
