"""Plain CLIP (arXiv 2103.00020, figure 3): soft CLIP with hard targets only."""

from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from lumbarclip_jax.losses import Method
from lumbarclip_jax.losses.forms import BLOCK_SIZE
from lumbarclip_jax.losses.soft_clip import soft_clip_loss


def clip_loss(
    image_embeds: Float[Array, "B E"],
    text_embeds: Float[Array, "B E"],
    logit_scale: float | Float[Array, ""],
    *,
    groups: Int[Array, "B"] | None = None,
    extra_texts: Float[Array, "B N E"] | None = None,
    method: Method = "auto",
    mesh: Mesh | None = None,
    block_size: int = BLOCK_SIZE,
) -> Float[Array, ""]:
    """Symmetric cross-entropy of the true pairs: `soft_clip_loss` with `hard_weight=1`.

    The soft targets are not weighted by zero, they are never computed. See `soft_clip_loss` for
    the arguments and the errors.
    """
    return soft_clip_loss(
        image_embeds,
        text_embeds,
        logit_scale,
        target_scale=0.0,
        hard_weight=1.0,
        groups=groups,
        extra_texts=extra_texts,
        method=method,
        mesh=mesh,
        block_size=block_size,
    )
