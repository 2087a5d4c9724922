"""A trained model on disk, in the folder of its run or of its export."""

import dataclasses
import json
import logging
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax import sharding
from lumbarclip_jax.data import content, mixture
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tokenizer import Tokenizer, read_vocabulary
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.embedder import Embedder
from lumbarclip_jax.evaluators.metrics_file import read_metrics
from lumbarclip_jax.evaluators.study_embedder import StudyEmbedder
from lumbarclip_jax.models import LumbarCLIP, build_model
from lumbarclip_jax.run_folder import (
    checksums,
    choice,
    config_changes,
    receipt,
    trained_patients,
    weights_file,
)
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.embedders import make_embedder
from lumbarclip_jax.run_folder.files import (
    CONFIG_FILE,
    DATA_MANIFEST_FILE,
    METRICS_FILE,
    REPORT_FILE,
    VOCABULARY_FILE,
)
from lumbarclip_jax.training import earlier, train_step
from lumbarclip_jax.training.model_state import (
    AveragedState,
    ModelState,
    abstract_model_state,
    merged,
    uses_average,
)

# What training leaves when it ends.
RESULTS = (METRICS_FILE, predictions_file.FILE, REPORT_FILE)

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Run:
    """What is needed to use a model: `embedder(dataset)` gives access to its embeddings."""

    folder: pathlib.Path
    config: ConfigDict
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    model: LumbarCLIP
    state: ModelState

    def embedder(self, dataset: Dataset) -> Embedder | StudyEmbedder:
        return make_embedder(self.config, self.mesh, self.tokenizer, self.model, dataset)

    def dataset(self, folder: str | pathlib.Path = "") -> Dataset:
        """The run's own data set with its splits, or another one with the splits that it has: a
        copy of it is split as the run was, so that no patient of training is in test."""
        data = self.config.data
        if not folder and data.get("dirs"):
            return mixture.opened(data, check_shards=True)
        dataset, resplit = Dataset(folder or data.dir, check_shards=True), data.get("resplit", "")
        return Dataset(dataset.folder, resplit) if resplit and self.is_own(dataset) else dataset

    def is_own(self, dataset: Dataset) -> bool:
        """Whether the run was trained on this data set, wherever it lies now."""
        return not content.difference(self.data_manifest, dataset.manifest)

    def cautions(self, dataset: Dataset, split: str) -> dict[str, float]:
        """What a file of metrics of this run on a split should begin with; mostly nothing.

        Beside the data set's own cautions, how many of the measured patients are in the training
        split of the run's data set, if that is another one.
        """
        if (self.folder / DATA_MANIFEST_FILE).is_file() and self.is_own(dataset):
            return dataset.cautions
        trained = self.patients_of_training()
        if trained is None:
            log.warning(
                "%s kept no list of the patients it was trained on, who may be in %s: run its "
                "training command once more, which adds the list and trains no further",
                self.folder,
                dataset.folder,
            )
            return dataset.cautions
        key = self.data_manifest.get("key_fingerprint")
        return dataset.cautions | trained_patients.cautions("the run", trained, key, dataset, split)

    def patients_of_training(self) -> frozenset[str] | None:
        """Digests of them; of a run that kept none, from its own data set while that is there."""
        path = self.folder / trained_patients.FILE
        if path.is_file():
            return trained_patients.read(path)
        try:
            own = self.dataset()
            is_own = self.is_own(own)
        except (OSError, ValueError):  # it is gone, damaged, or was never described
            return None
        return trained_patients.digests(own.columns("train").patient_id) if is_own else None

    @property
    def data_manifest(self) -> dict:
        """The manifest of the data set it was trained on, less its lists of shards and drops.

        Raises:
          FileNotFoundError: the run is older than this file.
        """
        path = self.folder / DATA_MANIFEST_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: run the training command of {self.folder} once more, which "
                "adds it and trains no further"
            )
        return _read_json(path)

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured when training ended; empty before that."""
        path = self.folder / METRICS_FILE
        return read_metrics(path) if path.is_file() else {}


def is_complete(folder: pathlib.Path) -> bool:
    """Whether a run was trained and measured to the end, and all that it left is still that."""
    if fault := receipt.fault(folder):
        log.warning("%s: it is measured again", fault)
    return not fault and all((folder / name).is_file() for name in RESULTS)


def is_finished(folder: pathlib.Path, config: ConfigDict, step: int | None) -> bool:
    """Whether a run that was trained to `step` has nothing left to do with this config."""
    if step is None or not is_complete(folder):
        return False
    return step >= config.total_steps or choice.ended(folder, config.eval, step)


def save_definition(
    workdir: pathlib.Path,
    config: ConfigDict,
    tokenizer: Tokenizer,
    data_manifest: dict,
    step: int | None = 0,
) -> None:
    """Writes what weights alone do not say: the resolved config, the vocabulary and the data.

    Process 0 writes; every process checks. The config of a finished run stays as it is.

    Args:
      step: how far the run in `workdir` was trained; None when no weights of it are kept, and it
        may still become any other.

    Raises:
      ValueError: it would be another run than it was: another config, vocabulary or data set.
    """
    finished = is_finished(workdir, config, step)
    if step is not None:
        _check_same_run(workdir, config, tokenizer, data_manifest, step, finished=finished)
    if jax.process_index() > 0:
        return
    with disk_errors_name(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
    files = {
        VOCABULARY_FILE: "\n".join(tokenizer.tokens) + "\n",
        DATA_MANIFEST_FILE: _as_json(content.summary(data_manifest)),
    }
    if not finished:
        files[CONFIG_FILE] = _as_json(config.to_dict())
    for name, text in files.items():
        write_whole(workdir / name, text.encode())


def save_trained_patients(workdir: pathlib.Path, dataset: Dataset, step: int | None) -> None:
    """Writes whom the run is trained on, unless that is kept already; `step` as above."""
    path = workdir / trained_patients.FILE
    if jax.process_index() == 0 and (step is None or not path.is_file()):
        patients = trained_patients.digests(dataset.columns("train").patient_id)
        write_whole(path, trained_patients.text(patients).encode())


def _check_same_run(
    workdir: pathlib.Path,
    config: ConfigDict,
    tokenizer: Tokenizer,
    data_manifest: dict,
    step: int,
    *,
    finished: bool,
) -> None:
    before, vocabulary, manifest = (
        workdir / name for name in (CONFIG_FILE, VOCABULARY_FILE, DATA_MANIFEST_FILE)
    )
    if before.is_file():
        was = _read_json(before)
        config_changes.check(workdir, was, config.to_dict(), step, finished=finished)
    if vocabulary.is_file() and read_vocabulary(vocabulary) != tokenizer.tokens:
        raise ValueError(
            f"{workdir} was trained with another vocabulary than {tokenizer.vocab_file}: continue "
            "it on its own data set and checkpoint, or choose another --workdir"
        )
    if manifest.is_file():
        difference = content.difference(_read_json(manifest), data_manifest)
        if difference:
            raise ValueError(
                f"{config.data.dir} is another data set than {workdir} was trained on "
                f"({difference}): continue it on that one, or choose another --workdir"
            )


def _read_json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is cut or damaged: restore it from a copy of the run") from error


def _as_json(value: dict) -> str:
    return json.dumps(value, indent=2) + "\n"


def load_run(folder: str | pathlib.Path) -> Run:
    """Loads a run's chosen or else newest checkpoint, or the weights of its safetensors export.

    On all devices there are, whatever mesh it was trained on. It can be used and measured but not
    trained further: the optimizer's state stays on disk, and no export has one.

    Args:
      folder: of the run or the export.

    Raises:
      FileNotFoundError: the folder is neither, lacks a file, or holds no checkpoint yet.
      ValueError: a file of an export is not the one that was exported, or of a checkpoint not the
        one that was saved.
    """
    folder = pathlib.Path(folder)
    is_export = any((folder / name).is_file() for name in (weights_file.FILE, checksums.FILE))
    if is_export:
        required = (CONFIG_FILE, VOCABULARY_FILE, DATA_MANIFEST_FILE, weights_file.FILE)
        checksums.verify(folder, required=required)
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is not a training run (no {CONFIG_FILE}): pass the --workdir of "
            "`python -m lumbarclip_jax.main`, or a folder exported with --format=safetensors"
        )
    config = ConfigDict(earlier.upgraded(_read_json(path)))
    mesh = sharding.make_mesh()
    tokenizer = Tokenizer(folder / VOCABULARY_FILE, config.data.max_tokens, config.data.lowercase)
    model = build_model(config.model, tokenizer.vocab_size, train_step.compute_dtype(config))
    abstract = abstract_model_state(model, config, mesh, is_merged=is_export)
    if is_export:
        state = _exported_state(folder, abstract)
    else:
        if uses_average(config):
            abstract = AveragedState.of(abstract)
        with Checkpointer(folder) as checkpointer:
            # What was measured on the run is of these weights, and no other pass for them.
            if chosen := choice.read(folder):
                state = checkpointer.restore_step(abstract, chosen["step"])
            else:
                state, _ = checkpointer.restore(abstract, fall_back=False)
        state = merged(state.as_model_state(), config)
    return Run(folder, config, mesh, tokenizer, model, state)


def _exported_state(folder: pathlib.Path, abstract: ModelState) -> ModelState:
    shapes = {"params": abstract.params, "batch_stats": abstract.batch_stats}
    variables, step = weights_file.load(folder / weights_file.FILE, shapes)
    return ModelState(step=jnp.asarray(step, jnp.int32), **variables)
