"""The published PyTorch models at a tiny size: weights, inputs, outputs, levels and gradients.

`make_golden.py` records what `run` returns, so that the parity tests also work without PyTorch.
"""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedModel,
    ResNetConfig,
    ResNetModel,
    SwinConfig,
    SwinModel,
    ViTConfig,
    ViTModel,
)

from tests.golden.cases import CASES, probe


def tiny_model(case: str) -> PreTrainedModel:
    """A model of the size in `cases.py`, no parameter or running statistic at its default."""
    fields = CASES[case].published
    models = {
        "bert": lambda: BertModel(BertConfig(**fields)),
        "vit": lambda: ViTModel(ViTConfig(**fields)),
        "swin": lambda: SwinModel(SwinConfig(**fields)),
        "resnet": lambda: ResNetModel(ResNetConfig(**fields)),
    }
    torch.manual_seed(0)
    return randomise(models[CASES[case].family]())


def randomise(model: PreTrainedModel, scale: float = 0.1) -> PreTrainedModel:
    """Moves every parameter and running statistic off its initial value; sets evaluation mode."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.add_(0.1 * torch.randn_like(buffer))
            if name.endswith("running_var"):
                buffer.mul_(0.5 + torch.rand_like(buffer))
    return model.eval()


def run(model: PreTrainedModel, inputs: dict[str, np.ndarray], gradients: bool = True) -> dict:
    """Weights, outputs and levels, the gradients of the probe loss, and the weights afterwards.

    Arrays are in the layout of `lumbarclip_jax` (channels last); weights and gradients have the
    names and layout of the checkpoint. A model in training mode leaves its moved running
    statistics in `after/...`.
    """
    arrays = {f"weights/{key}": value for key, value in checkpoint(model).items()}
    arrays |= {f"inputs/{name}": value for name, value in inputs.items()}
    tensors = {name: torch.tensor(value) for name, value in inputs.items()}
    options = {}
    if "images" in tensors:
        tensors = {"pixel_values": tensors["images"].permute(0, 3, 1, 2)}
    if isinstance(model, ViTModel):
        options["interpolate_pos_encoding"] = True
    with torch.set_grad_enabled(gradients):
        out = model(**tensors, **options, output_hidden_states=True)
    last, pooled = channels_last(out.last_hidden_state), out.pooler_output.flatten(1)
    arrays |= {"last_hidden_state": array(last), "pooled": array(pooled)}
    for level, hidden in enumerate(out.hidden_states):
        arrays[f"levels/{level}"] = array(channels_last(hidden))
    if gradients:
        loss = (pooled * torch.tensor(probe(pooled.shape))).sum()
        if "attention_mask" in inputs:
            last = last * tensors["attention_mask"][..., None]
        loss = loss + (last * torch.tensor(probe(last.shape))).sum()
        loss.backward()
        mirror = copy.deepcopy(model)
        for theirs, parameter in zip(mirror.parameters(), model.parameters(), strict=True):
            theirs.data = parameter.grad
        arrays |= {f"gradients/{key}": value for key, value in checkpoint(mirror).items()}
    if model.training:
        arrays |= {f"after/{key}": value for key, value in checkpoint(model).items()}
    return arrays


def checkpoint(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """What `save_pretrained` writes: the names of published checkpoints, not of the modules."""
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tensors = load_file(Path(folder) / "model.safetensors")
    return {key: value for key, value in tensors.items() if "num_batches_tracked" not in key}


def channels_last(x: torch.Tensor) -> torch.Tensor:
    return x.permute(0, 2, 3, 1) if x.ndim == 4 else x


def array(x: torch.Tensor) -> np.ndarray:
    return x.detach().numpy().copy()
