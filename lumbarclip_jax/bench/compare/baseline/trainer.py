"""A training step of the baseline."""

import pathlib

import numpy as np
import torch
from ml_collections import ConfigDict
from torch import Tensor, nn

from lumbarclip_jax import objectives
from lumbarclip_jax.bench.compare.baseline.images import augment_images
from lumbarclip_jax.bench.compare.baseline.loss import TERMS, objective
from lumbarclip_jax.bench.compare.baseline.model import LumbarCLIP
from lumbarclip_jax.bench.compare.baseline.optimizer import make_optimizer, make_schedule

Batch = dict[str, Tensor]


class Trainer:
    """Trains the model of a run config, one batch a call of `step`."""

    def __init__(
        self,
        folder: pathlib.Path,
        config: ConfigDict,
        *,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        compile_mode: str | None = None,
    ):
        """Loads the weights of an exported folder.

        Args:
          config: of a run.
          dtype: of the matrix products; anything but float32 is by autocast.
          compile_mode: of `torch.compile`, such as "default"; None runs eagerly.

        Raises:
          ValueError: the config asks for something the baseline does not do.
        """
        check(config)
        self.config, self.device, self.dtype = config, torch.device(device), dtype
        # Float32 is meant as such, TF32 is not; and convolutions of one shape choose once.
        torch.backends.cudnn.allow_tf32 = dtype != torch.float32
        torch.backends.cudnn.benchmark = True
        model = LumbarCLIP(folder, config.model).train()
        # pyrefly: ignore [no-matching-overload]  # which the annotations of PyTorch leave out
        self.model = model.to(self.device, memory_format=torch.channels_last)
        self.optimizer = make_optimizer(self.model, config.optim)
        self.schedule = make_schedule(self.optimizer, config.optim, config.total_steps)
        self.loss = self.batch_loss
        if compile_mode is not None:
            self.loss = torch.compile(self.batch_loss, mode=compile_mode, dynamic=False)

    def place(self, batch: dict[str, np.ndarray]) -> Batch:
        """A batch of `lumbarclip_jax.data`, of one view a pair, on the device."""
        tensors = {name: torch.from_numpy(array) for name, array in batch.items()}
        for name in ("images", "input_ids", "attention_mask"):
            tensors[name] = tensors[name].squeeze(1)
        tensors["images"] = tensors["images"].permute(0, 3, 1, 2)
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def step(self, batch: Batch) -> Tensor:
        """One optimizer step; returns the loss before it, a scalar left on the device."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        if self.config.optim.clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optim.clip_norm)
        self.optimizer.step()
        self.schedule.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0.0, self.config.model.logit_scale_max)
        return loss.detach()

    def batch_loss(self, batch: Batch) -> Tensor:
        images = augment_images(batch["images"], self.config.data)
        is_mixed = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=is_mixed):
            image, text = self.model(images, batch["input_ids"], batch["attention_mask"])
        return objective(
            image, text, self.model.logit_scale, batch["report_group"], self.config.objective
        )


def check(config: ConfigDict) -> None:
    """Raises ValueError, naming the field, for what the baseline does not do."""
    model, optim = config.model, config.optim
    allowed = (
        ("model.projection.kind", model.projection.kind, ("linear", "mlp")),
        ("model.text_encoder.pooling", model.text_encoder.pooling, ("cls", "mean", "last")),
        ("model.image_encoder.pooling", model.image_encoder.pooling, ("cls", "mean")),
        ("optim.accumulation_steps", optim.accumulation_steps, (1,)),
        ("optim.frozen", tuple(optim.frozen), ((),)),
        ("optim.lr_multipliers", tuple(optim.lr_multipliers), ((),)),
        ("model.remat", model.remat, (False,)),
        ("model.lora.rank", model.lora.rank, (0,)),
    )
    for name, settings in objectives.computed(config.objective).items():
        if name not in TERMS:
            raise ValueError(
                f"the PyTorch baseline has no term objective.{name}: it knows {' and '.join(TERMS)}"
            )
        allowed += ((f"objective.{name}.schedule", tuple(settings.schedule), ((),)),)
        if "group_reports" in settings:
            shared = (config.objective.group_reports,)
            allowed += ((f"objective.{name}.group_reports", settings.group_reports, shared),)
    if model.image_encoder.name == "vit":
        allowed += (("model.image_encoder.drop_path", model.image_encoder.drop_path, (0.0,)),)
    for field, value, choices in allowed:
        if value not in choices:
            raise ValueError(
                f"the PyTorch baseline has no {field}={value!r}: it knows "
                f"{' or '.join(map(repr, choices))}"
            )
