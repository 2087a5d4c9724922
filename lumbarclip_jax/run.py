"""A trained model on disk, in the folder of its run or of its export."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lumbarclip_jax import checksums, sharding, train_step, weights_file
from lumbarclip_jax.checkpoints import Checkpointer
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tokenizer import Tokenizer, read_vocabulary
from lumbarclip_jax.embedder import Embedder
from lumbarclip_jax.metrics_file import read_metrics
from lumbarclip_jax.models import build_model
from lumbarclip_jax.train_step import TrainState

CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocab.txt"
DATA_MANIFEST_FILE = "data_manifest.json"
METRICS_FILE = "metrics.json"
# What is measured later and lies here, is shown on the run's page.
EVALUATE_FOLDER = "evaluate"
FINETUNE_FOLDER = "finetune"


@dataclasses.dataclass(frozen=True)
class Run:
    """What is needed to use a model: `embedder(dataset)` gives access to its embeddings."""

    folder: pathlib.Path
    config: ConfigDict
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    model: object  # the LumbarCLIP linen module
    state: TrainState

    def embedder(self, dataset: Dataset) -> Embedder:
        encode_image, encode_text = train_step.make_encoders(self.model, self.config, self.mesh)
        return Embedder(
            encode_image,
            encode_text,
            dataset,
            self.tokenizer,
            mesh=self.mesh,
            batch_size=self.config.eval.batch_size,
            level_prefix=self.config.data.level_prefix,
        )

    def dataset(self, folder: str | pathlib.Path = "") -> Dataset:
        """The run's own data set with its splits, or another one with the splits that it has.

        A copy of the run's data set under another name is split as the run was, so that no patient
        it was trained on is in test.
        """
        resplit = self.config.data.get("resplit", "")  # older runs know no such field
        if folder and resplit:
            is_copy = Dataset(folder).manifest.get("plan") == self.data_manifest.get("plan")
            resplit = resplit if is_copy else ""
        return Dataset(folder or self.config.data.dir, resplit)

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
        return json.loads(path.read_text())

    @property
    def metrics(self) -> dict[str, float]:
        """What was measured when training ended; empty before that."""
        path = self.folder / METRICS_FILE
        return read_metrics(path) if path.is_file() else {}


def save_definition(
    workdir: pathlib.Path, config: ConfigDict, tokenizer: Tokenizer, data_manifest: dict
) -> None:
    """Writes what weights alone do not say: the resolved config, the vocabulary and the data.

    Process 0 writes; every process checks.

    Raises:
      ValueError: the run was trained with another vocabulary, whose token ids mean other words, or
        on other splits, whose patients would now be tested.
    """
    before = workdir / CONFIG_FILE
    if before.is_file():
        trained_on = json.loads(before.read_text())["data"].get("resplit", "")
        if trained_on != config.data.resplit:
            raise ValueError(
                f"{workdir} was trained with data.resplit={trained_on!r}, not "
                f"{config.data.resplit!r}: set that, or choose another --workdir"
            )
    kept = workdir / VOCABULARY_FILE
    if kept.is_file() and read_vocabulary(kept) != tokenizer.tokens:
        raise ValueError(
            f"{workdir} was trained with another vocabulary than {tokenizer.vocab_file}: continue "
            "it on its own data set and checkpoint, or choose another --workdir"
        )
    if jax.process_index() > 0:
        return
    workdir.mkdir(parents=True, exist_ok=True)
    if not kept.is_file():
        _write(kept, "\n".join(tokenizer.tokens) + "\n")
    summary = {k: v for k, v in data_manifest.items() if k not in ("shards", "dropped")}
    for name, content in ((CONFIG_FILE, config.to_dict()), (DATA_MANIFEST_FILE, summary)):
        _write(workdir / name, json.dumps(content, indent=2) + "\n")


def _write(path: pathlib.Path, text: str) -> None:
    """Renamed into place when it is whole, because another process may be checking it."""
    complete = path.with_suffix(".tmp")
    complete.write_text(text, encoding="utf-8")
    complete.rename(path)


def load_run(folder: str | pathlib.Path, *, fall_back: bool = True) -> Run:
    """Loads the newest whole checkpoint of a run, or the weights of its safetensors export.

    An export has no optimizer state, so it can be used and measured but not trained further.

    Args:
      folder: of the run or the export.
      fall_back: take an older checkpoint, with a warning, where the newest is damaged.

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
    config = ConfigDict(json.loads(path.read_text()))
    mesh = sharding.make_mesh()
    tokenizer = Tokenizer(folder / VOCABULARY_FILE, config.data.max_tokens, config.data.lowercase)
    model = build_model(config.model, tokenizer.vocab_size, train_step.compute_dtype(config))
    abstract, _ = train_step.abstract_train_state(model, config, mesh)
    if is_export:
        state = _exported_state(folder, abstract)
    else:
        with Checkpointer(folder) as checkpointer:
            state, _ = checkpointer.restore(abstract, fall_back=fall_back)
    return Run(folder, config, mesh, tokenizer, model, state)


def _exported_state(folder: pathlib.Path, abstract: TrainState) -> TrainState:
    shapes = {"params": abstract.params, "batch_stats": abstract.batch_stats}
    variables, step = weights_file.load(folder / weights_file.FILE, shapes)
    return TrainState(step=jnp.asarray(step, jnp.int32), opt_state=(), **variables)
