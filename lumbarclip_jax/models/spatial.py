"""Image embeddings place by place, before pooling: what similarity maps are made of."""

import math

from flax import linen as nn
from jaxtyping import Array, Float

from lumbarclip_jax.models.lumbarclip import LumbarCLIP, reduced
from lumbarclip_jax.models.projection import unit
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.vit import ViT

# Side of the squares that a ResNet's stem makes places of: two strides of two.
STEM_STRIDE_PX = 4


def place_embeds(
    model: LumbarCLIP, images: Float[Array, "B H H C"]
) -> Float[Array, "B places places E"]:
    """Every place of the encoder's last map through the projection, of unit length.

    For `model.apply(variables, images, method=place_embeds)`. A place is a patch token of ViT, a
    token of Swin's last stage, or a position of ResNet's last feature map. Only an encoder that
    pools by the mean was trained to put what these say into the embedding of the image.
    """
    places = model.image_encoder(images)["last_hidden_state"]
    places = places.reshape(len(images), -1, places.shape[-1])
    if isinstance(model.image_encoder, ViT) and model.image_encoder.use_class_token:
        places = places[:, 1:]  # the class token is nowhere in the image
    side = math.isqrt(places.shape[1])
    features = reduced(places.reshape(-1, places.shape[-1]), model.image_reduction)
    embeds = unit(model.image_projection(features))
    return embeds.reshape(len(images), side, side, -1)


def place_side_px(encoder: nn.Module) -> int:
    """How far apart neighbouring places are, in pixels of the encoder's input."""
    if isinstance(encoder, ViT):
        return encoder.patch_size
    if isinstance(encoder, Swin):
        return encoder.patch_size * 2 ** (len(encoder.stage_depths) - 1)
    return STEM_STRIDE_PX * 2 ** (len(encoder.stage_depths) - 1)
