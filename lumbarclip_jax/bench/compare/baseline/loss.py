"""The objective, with the formula of `lumbarclip_jax.losses.soft_clip`."""

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor

from lumbarclip_jax import objectives

TERMS = ("soft_clip", "clip")  # of those of `lumbarclip_jax.objectives`


def objective(
    image_embeds: Tensor,
    text_embeds: Tensor,
    logit_scale: Tensor,
    report_group: Tensor,
    config: ConfigDict,
) -> Tensor:
    """The weighted sum of the terms of `config`, which is `config.objective`.

    Args:
      image_embeds: float32 [B, E] of unit length; so are `text_embeds`, pair by pair.
      logit_scale: log of 1 / temperature.
      report_group: int [B], one number for equal reports.
    """
    logits = logit_scale.exp() * text_embeds @ image_embeds.T
    hard_targets = torch.eye(len(logits), device=logits.device)
    if config.group_reports:
        equal = (report_group[:, None] == report_group[None, :]).float()
        hard_targets = equal / equal.sum(dim=1, keepdim=True)
    total = torch.zeros((), device=logits.device)
    for name, settings in objectives.computed(config).items():
        targets = image_targets = hard_targets
        if name == "soft_clip":
            targets, image_targets = soft_targets(image_embeds, text_embeds, hard_targets, settings)
        total = total + settings.weight * _cross_entropy(logits, targets, image_targets)
    return total


def soft_targets(
    image_embeds: Tensor, text_embeds: Tensor, hard_targets: Tensor, settings: ConfigDict
) -> tuple[Tensor, Tensor]:
    """Blended targets of the texts and of the images; `settings` are those of soft CLIP."""
    targets, hard_weight = hard_targets, settings.hard_weight
    if hard_weight < 1.0:
        with torch.set_grad_enabled(not settings.detach_targets):
            likeness = image_embeds @ image_embeds.T + text_embeds @ text_embeds.T
            soft = torch.softmax(settings.target_scale / 2 * likeness, dim=1)
        targets = hard_weight * hard_targets + (1 - hard_weight) * soft
    return targets, targets if settings.targets == "row" else targets.T


def _cross_entropy(logits: Tensor, targets: Tensor, image_targets: Tensor) -> Tensor:
    """The mean of both directions, in float32."""
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, image_targets)) / 2
