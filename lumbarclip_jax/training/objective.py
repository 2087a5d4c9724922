"""The objective of a run: which loss `config.loss` names, on a whole batch."""

from collections.abc import Mapping
from typing import Any

from jax.sharding import Mesh
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from lumbarclip_jax.losses.clip import clip_loss
from lumbarclip_jax.losses.siglip import siglip_loss
from lumbarclip_jax.losses.soft_clip import soft_clip_loss

Embeds = tuple[Float[Array, "B E"], Float[Array, "B E"]]  # images, and texts on the same rows


def contrastive_loss(
    config: ConfigDict,
    params: Mapping[str, Any],
    embeds: Embeds,
    batch: Mapping[str, Array],
    mesh: Mesh,
) -> Float[Array, ""]:
    """The loss of the pairs of a batch.

    Args:
      config: `config.loss`.
      params: the model's parameters, of which the learned scalars `logit_scale` and, for SigLIP,
        `logit_bias` are read.
      embeds: of the whole batch, sharded over all axes of the mesh.
      batch: what the embeddings are of; with `config.group_reports` its `report_group` int32 [B].
      mesh: the devices of the run.
    """
    groups = batch["report_group"] if config.group_reports else None
    options = {"method": config.method, "mesh": mesh, "groups": groups}
    if config.name == "siglip":
        return siglip_loss(*embeds, params["logit_scale"], params["logit_bias"], **options)
    if config.name == "clip":
        return clip_loss(*embeds, params["logit_scale"], **options)
    return soft_clip_loss(
        *embeds,
        params["logit_scale"],
        target_scale=config.target_scale,
        targets=config.targets,
        detach_targets=config.detach_targets,
        hard_weight=config.hard_weight,
        **options,
    )
