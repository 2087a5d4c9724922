"""A batch through the encoders: in training, and for evaluation."""

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from lumbarclip_jax.data.fields import IMAGES, VIEWED
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import lora, optim
from lumbarclip_jax.training.model_state import ModelState


def make_encode(model, config: ConfigDict, objective: Objective, progress: jax.Array | float = 0.0):
    """Returns `encode(params, batch_stats, batch, dropout_key) -> (outputs, batch_stats)`.

    The images of the batch are those that the encoder sees, [B, V, H, W, 1], and its texts
    [B, W, T]; the outputs are those of `Objective.rows`, to which `progress` goes.

    Args:
      model: a linen module that takes the fields of a batch in `model.takes`, those with views one
        view a row, and returns outputs by name. One that `pools_studies` takes all images of a row
        together, and makes one of them.
    """

    def encode(params, batch_stats, batch, dropout_key):
        rows = len(batch[IMAGES])
        views = 1 if model.pools_studies else batch[IMAGES].shape[1]

        def taken(name: str) -> jax.Array:
            # What a row has once is that of each of its views.
            leaf = batch[name]
            if name == IMAGES and model.pools_studies:
                return leaf
            return without_views(leaf) if name in VIEWED else jnp.repeat(leaf, views, axis=0)

        said, updated = model.apply(
            {"params": learned(config, params), "batch_stats": batch_stats},
            *map(taken, model.takes),
            train=True,
            rngs={"dropout": dropout_key},
            mutable=["batch_stats"],
        )
        said = {name: with_views(said[name], rows) for name in objective.outputs}
        return objective.rows(said, batch, progress), updated.get("batch_stats", {})

    return encode


def without_views(leaf: jax.Array) -> jax.Array:
    """[B, V, ...] as [B V, ...], the views of a row side by side."""
    return leaf.reshape(-1, *leaf.shape[2:])


def with_views(leaf: jax.Array, rows: int) -> jax.Array:
    """The inverse of `without_views`."""
    return leaf.reshape(rows, -1, *leaf.shape[1:])


def learned(config: ConfigDict, params):
    """Parameters as the model takes them in training, adapters merged.

    Frozen ones need no backward pass, unless adapters sit on them.
    """
    train_mask = optim.trainable(config.optim, params)
    params = jax.tree.map(lambda p, t: p if t else jax.lax.stop_gradient(p), params, train_mask)
    return lora.merged(config.model.get("lora"), params)


def make_encoders(model, config: ConfigDict, mesh: Mesh):
    """Returns jitted `encode_image(state, images)` and `encode_text(state, tokens)`.

    `images` are stored slices, uint8 [B, S, S, 1]; `tokens` the tokenizer's dict. Both return the
    model's dict of embeddings and features, replicated on every device.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def encode_image(state, images):
        pixels = prepare_images(images, config.data)
        return model.apply(_variables(state), pixels, method="encode_image")

    def encode_text(state, tokens):
        return model.apply(
            _variables(state), tokens["input_ids"], tokens["attention_mask"], method="encode_text"
        )

    return (
        jax.jit(encode_image, out_shardings=everywhere),
        jax.jit(encode_text, out_shardings=everywhere),
    )


def make_pool_study(model, mesh: Mesh):
    """Returns jitted `pool_study(state, features, mask)`, see `LumbarCLIP.pool_study`."""

    def pool_study(state, features, mask):
        return model.apply(_variables(state), features, mask, method="pool_study")

    return jax.jit(pool_study, out_shardings=NamedSharding(mesh, PartitionSpec()))


def make_label_logits(model, mesh: Mesh):
    """Returns jitted `label_logits(state, image_embeds, levels)`, see `LumbarCLIP.label_logits`."""

    def label_logits(state, image_embeds, levels):
        return model.apply(_variables(state), image_embeds, levels, method="label_logits")

    return jax.jit(label_logits, out_shardings=NamedSharding(mesh, PartitionSpec()))


def _variables(state: ModelState) -> dict:
    return {"params": state.params, "batch_stats": state.batch_stats}
