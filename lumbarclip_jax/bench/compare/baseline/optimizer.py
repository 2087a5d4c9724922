"""Fused AdamW on the schedule and with the decay of `lumbarclip_jax.training.optim`."""

import math

import torch
from ml_collections import ConfigDict
from torch import nn


def make_optimizer(model: nn.Module, config: ConfigDict) -> torch.optim.AdamW:
    """AdamW that decays the weights of linear layers and convolutions and nothing else."""
    kernels = [m.weight for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    others = [p for p in model.parameters() if not any(p is kernel for kernel in kernels)]
    return torch.optim.AdamW(
        [
            {"params": kernels, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.lr,
        betas=(config.b1, config.b2),
        fused=True,
    )


def make_schedule(
    optimizer: torch.optim.Optimizer, config: ConfigDict, total_steps: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Linear warmup, then a cosine to `final_lr_fraction` of the peak at `total_steps`."""

    def fraction(step: int) -> float:
        if step < config.warmup_steps:
            return (step + 1) / config.warmup_steps
        progress = (step - config.warmup_steps) / max(1, total_steps - config.warmup_steps)
        cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
        return config.final_lr_fraction + (1 - config.final_lr_fraction) * cosine

    return torch.optim.lr_scheduler.LambdaLR(optimizer, fraction)
