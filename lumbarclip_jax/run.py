"""A trained run on disk: its config, vocabulary, model and state."""

import dataclasses
import json
import pathlib

import jax
from ml_collections import ConfigDict

from lumbarclip_jax import sharding, train_step
from lumbarclip_jax.checkpoints import Checkpointer
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.embedder import Embedder
from lumbarclip_jax.models import build_model

CONFIG_FILE = "config.json"
VOCABULARY_FILE = "vocab.txt"


@dataclasses.dataclass(frozen=True)
class Run:
    """What is needed to use a model: `embedder(dataset)` gives access to its embeddings."""

    config: ConfigDict
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    model: object  # the LumbarCLIP linen module
    state: train_step.TrainState

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


def save_definition(workdir: pathlib.Path, config: ConfigDict, vocabulary: pathlib.Path) -> None:
    """Writes what a checkpoint alone does not say: the resolved config and the vocabulary.

    Raises:
      ValueError: the run was trained with another vocabulary, whose token ids mean other words.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    kept = workdir / VOCABULARY_FILE
    if kept.is_file() and kept.read_bytes() != vocabulary.read_bytes():
        raise ValueError(
            f"{workdir} was trained with another vocabulary than {vocabulary}: continue it on its "
            "own data set, or choose another --workdir"
        )
    kept.write_bytes(vocabulary.read_bytes())
    (workdir / CONFIG_FILE).write_text(json.dumps(config.to_dict(), indent=2) + "\n")


def load_run(workdir: str | pathlib.Path) -> Run:
    """Loads the latest checkpoint of a training run.

    Raises:
      FileNotFoundError: the folder is not a run, or holds no checkpoint yet.
    """
    workdir = pathlib.Path(workdir)
    path = workdir / CONFIG_FILE
    if not path.is_file():
        raise FileNotFoundError(
            f"{workdir} is not a training run (no {CONFIG_FILE}): pass the --workdir of "
            "`python -m lumbarclip_jax.main`"
        )
    config = ConfigDict(json.loads(path.read_text()))
    mesh = sharding.make_mesh()
    tokenizer = Tokenizer(workdir / VOCABULARY_FILE, config.data.max_tokens)
    model = build_model(config.model, tokenizer.vocab_size, train_step.compute_dtype(config))
    checkpointer = Checkpointer(workdir)
    abstract, _ = train_step.abstract_train_state(model, config, mesh)
    state, _ = checkpointer.restore(abstract)
    checkpointer.close()
    return Run(config, mesh, tokenizer, model, state)
