"""LumbarCLIP (arXiv 2509.20813) in JAX: contrastive pretraining of lumbar-spine MRI and reports.

Shape letters used throughout: B batch, H W C image, T tokens, D features, E shared embedding,
N heads.
"""

import pathlib
from typing import TYPE_CHECKING

from data_prep.process import signals
from lumbarclip_jax.process import xla_guard

if TYPE_CHECKING:
    from lumbarclip_jax.classifier import Classifier
    from lumbarclip_jax.inference import Model

__version__ = "0.1.0"

signals.end_commands_at_once()
xla_guard.install()


def load(folder: str | pathlib.Path) -> "Model | Classifier":
    """A trained model with `encode_image`, `encode_text` and `zero_shot`, or one that classifies.

    Args:
      folder: of a run of `lumbarclip_jax.main`, which gives a `Model`; of a classifier that
        `lumbarclip_jax.finetune` trained, which gives a `Classifier` with `classify`; or of the
        `lumbarclip_jax.export --format=safetensors` of either.

    Raises:
      FileNotFoundError: the folder holds no trained model, or lacks a file.
      ValueError: a file is not the one that was saved or exported.
    """
    # Not at the top: importing the package starts neither JAX nor anything else that takes seconds.
    from lumbarclip_jax import classifier, inference
    from lumbarclip_jax.finetune import saved

    is_classifier = saved.holds(pathlib.Path(folder))
    return classifier.Classifier(folder) if is_classifier else inference.load(folder)
