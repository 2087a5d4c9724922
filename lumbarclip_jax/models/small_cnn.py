"""A plain small convolutional network: what anyone would try first."""

from typing import Any

from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.batch_norm import BatchNorm
from lumbarclip_jax.models.convolution import Conv
from lumbarclip_jax.xla_cpu.convolution import halve


class SmallCNN(nn.Module):
    """Four times (3x3 convolution, batch normalisation, ReLU, 2x2 maximum), then the mean."""

    widths: tuple[int, ...] = (16, 32, 64, 128)

    @nn.compact
    def __call__(self, images: Float[Array, "B H W C"], *, train: bool = False) -> dict[str, Any]:
        """Returns `last_hidden_state` [B, H/16, W/16, D] and `pooled` [B, D]."""
        x = images
        for index, width in enumerate(self.widths):
            x = Conv(width, 3, 1, x.shape[-1], name=f"conv_{index}")(x)
            x = nn.relu(BatchNorm(name=f"norm_{index}")(x, train=train))
            x = halve(x)
        return {"last_hidden_state": x, "pooled": x.mean(axis=(1, 2))}
