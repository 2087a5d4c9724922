"""An encoder in a published checkpoint: our module for it, and its weights in our tree."""

import dataclasses
import logging
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.patches import fit_positions
from lumbarclip_jax.models.pretrained import key_tables
from lumbarclip_jax.models.pretrained.checkpoint_files import read_tensors
from lumbarclip_jax.models.pretrained.key_tables import Layout, Tensors, Tree
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.stacking import stack_layers
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.vit import ViT

log = logging.getLogger(__name__)

MODULES: dict[str, type[nn.Module]] = {"bert": Bert, "vit": ViT, "swin": Swin, "resnet": ResNet}
# Where the weights of a pooling lie, of those that have some.
POOLERS = {"pooler": "pooler.dense.", "map": "head."}


@dataclasses.dataclass(frozen=True)
class PublishedEncoder:
    """A published encoder whose config has been read; its weights are read when asked for."""

    folder: pathlib.Path
    family: str  # one of MODULES
    sizes: dict[str, Any]  # fields of the module
    pooling: str  # of the published model; "pooler" only where it is known to have that layer
    layout: Layout
    image_size_px: int = 224  # side of the images that a ViT's position table was made for

    def tensors(self) -> Tensors:
        """The encoder's tensors under the names of its layout, other parts of the model left out.

        Raises:
          FileNotFoundError, ValueError: as `read_tensors`.
        """
        tensors, heads = key_tables.encoder_tensors(read_tensors(self.folder), self.layout)
        if heads:
            log.info(
                "%s: left out %s", self.folder, key_tables.listing("tensors of other parts", heads)
            )
        return tensors

    def module(self, pooling: str) -> nn.Module:
        """Our encoder in the sizes of this one."""
        return MODULES[self.family](**self.sizes, pooling=pooling)

    def variables(
        self, module: nn.Module, tensors: Tensors, image_size_px: int | None = None
    ) -> Tree:
        """The weights as {"params": ..., "batch_stats": ...} of an encoder of these sizes.

        Args:
          module: it may pool in another way than the published model, whose own layers for that are
            then left out.
          tensors: what `self.tensors()` gave.
          image_size_px: a ViT's position table is resampled to images of this side; None keeps it.

        Raises:
          ValueError: the weights are not those of the module; every difference is listed.
        """
        others = tuple(prefix for name, prefix in POOLERS.items() if name != module.pooling)
        if any(key.startswith(others) for key in tensors):
            tensors = {key: x for key, x in tensors.items() if not key.startswith(others)}
            log.info("%s: left out its pooler, pooling is %s", self.folder, module.pooling)
        scanned = getattr(module, "scan_layers", False)
        one_by_one = module.clone(scan_layers=False) if scanned else module
        variables = key_tables.fit(tensors, self.shapes(one_by_one), self.layout.rules, self.folder)
        params = variables["params"]
        if self.family == "vit" and image_size_px is not None:
            side, table = image_size_px // module.patch_size, params["position_embedding"]
            first = int(module.use_class_token)
            params["position_embedding"] = fit_positions(jnp.asarray(table), first, (side, side))
        if scanned:
            variables["params"] = stack_layers(params)
        return variables

    def shapes(self, module: nn.Module) -> Tree:
        """Shapes of the module's variables for the inputs it was published for."""
        if self.family == "bert":
            inputs = jax.ShapeDtypeStruct((1, 1), jnp.int32)
        else:
            side, channels = self.image_size_px, module.in_channels
            inputs = jax.ShapeDtypeStruct((1, side, side, channels), jnp.float32)
        return nn.meta.unbox(jax.eval_shape(module.init, jax.random.key(0), inputs))
