"""The embedder of a model over a data set, as a config has it."""

import jax
from ml_collections import ConfigDict

from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.evaluators import unit_of
from lumbarclip_jax.evaluators.embedder import Embedder
from lumbarclip_jax.evaluators.study_embedder import StudyEmbedder
from lumbarclip_jax.models import LumbarCLIP
from lumbarclip_jax.training.encoding import make_encoders, make_label_logits, make_pool_study


def make_embedder(
    config: ConfigDict,
    mesh: jax.sharding.Mesh,
    tokenizer: Tokenizer,
    model: LumbarCLIP,
    dataset: Dataset,
) -> Embedder | StudyEmbedder:
    """Access to the embeddings of a data set by a model, in any state of its weights.

    Raises:
      ValueError: rows are to be studies, and texts begin with a disc level.
    """
    by_image = Embedder(
        *make_encoders(model, config, mesh),
        dataset,
        tokenizer,
        mesh=mesh,
        batch_size=config.eval.batch_size,
        level_prefix=config.data.level_prefix,
        has_shared_features=model.image_reduction is not None,
        heads=model.heads,
        label_logits=make_label_logits(model, mesh),
    )
    if unit_of(config) == "image":
        return by_image
    return StudyEmbedder(by_image, make_pool_study(model, mesh) if model.pools_studies else None)
