"""The soft CLIP loss, with the formula of `lumbarclip_jax.losses.soft_clip`."""

import torch
import torch.nn.functional as F
from ml_collections import ConfigDict
from torch import Tensor


def soft_clip_loss(
    image_embeds: Tensor, text_embeds: Tensor, logit_scale: Tensor, config: ConfigDict
) -> Tensor:
    """Cross-entropy of both directions, in float32, against blended targets.

    Args:
      image_embeds: float32 [B, E] of unit length; so are `text_embeds`, pair by pair.
      logit_scale: log of 1 / temperature.
      config: `config.loss`; the loss named "clip" is that with one-hot targets.
    """
    hard_weight = 1.0 if config.name == "clip" else config.hard_weight
    logits = logit_scale.exp() * text_embeds @ image_embeds.T
    targets = torch.eye(len(logits), device=logits.device)
    if hard_weight < 1.0:
        with torch.set_grad_enabled(not config.detach_targets):
            likeness = image_embeds @ image_embeds.T + text_embeds @ text_embeds.T
            soft = torch.softmax(config.target_scale / 2 * likeness, dim=1)
        targets = hard_weight * targets + (1 - hard_weight) * soft
    image_targets = targets if config.targets == "row" else targets.T
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, image_targets)) / 2
