"""A residual network for some hundreds of patients and a CPU."""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.convolution import Conv, max_pool


class SmallResNet(nn.Module):
    """ResNet-18 (He et al. 2016, arXiv 1512.03385) of half its width and without its last stage.

    Plain blocks of two 3x3 convolutions. Below 64 channels they learn more than the bottleneck
    blocks of `ResNet`, whose inner convolutions have a quarter of the channels.
    """

    width: int = 32
    stage_depths: tuple[int, ...] = (2, 2, 2)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, H/16, W/16, D] and `pooled` [B, D]."""
        x = Conv(self.width, 7, 2, images.shape[-1], name="stem_conv")(images)
        x = nn.relu(BatchNorm(name="stem_norm")(x, train=train))
        x = max_pool(x)
        for stage, depth in enumerate(self.stage_depths):
            for index in range(depth):
                stride = 2 if stage > 0 and index == 0 else 1
                name = f"stage_{stage}_block_{index}"
                x = BasicBlock(self.width * 2**stage, stride, name=name)(x, train=train)
        return {"last_hidden_state": x, "pooled": x.mean(axis=(1, 2))}


class BasicBlock(nn.Module):
    """relu(x + f(x)) with f = two 3x3 convolutions.

    The shortcut is a strided 1x1 convolution where the shape changes.
    """

    width: int
    stride: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"], *, train: bool) -> Float[Array, "B h w D"]:
        branch = Conv(self.width, 3, self.stride, x.shape[-1], name="conv_0")(x)
        branch = nn.relu(BatchNorm(name="norm_0")(branch, train=train))
        branch = Conv(self.width, 3, 1, self.width, name="conv_1")(branch)
        branch = BatchNorm(name="norm_1")(branch, train=train)
        if x.shape[-1] != self.width or self.stride != 1:
            x = Conv(self.width, 1, self.stride, x.shape[-1], name="conv_shortcut")(x)
            x = BatchNorm(name="norm_shortcut")(x, train=train)
        return nn.relu(x + branch)
