"""Extra texts: of every row i, N more texts X_in as negatives that only image i meets.

That is B N pairings, each of which is computed where its row is: nothing of them is exchanged.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def check_extra_texts(image_embeds, extra_texts) -> None:
    """Raises ValueError unless there are none, or at least one for every image."""
    if extra_texts is None:
        return
    batch, features = image_embeds.shape
    shape = extra_texts.shape
    if len(shape) != 3 or shape[::2] != (batch, features) or shape[1] < 1:
        raise ValueError(
            f"extra_texts {shape} must be [{batch}, N, {features}] with N of at least 1: row i "
            f"holds the N texts that only image i of {batch} meets."
        )


def similarity_to_extras(
    image_embeds: Float[Array, "B E"], extra_texts: Float[Array, "B N E"]
) -> Float[Array, "B N"]:
    """Inner product of every image with its own extra texts, float32."""
    images, extras = image_embeds.astype(jnp.float32), extra_texts.astype(jnp.float32)
    return jnp.sum(images[:, None, :] * extras, axis=2)


def gradient_of_images(
    weights: Float[Array, "B N"], extra_texts: Float[Array, "B N E"]
) -> Float[Array, "B E"]:
    """Of Σ weights × `similarity_to_extras`, by the images, float32."""
    return jnp.sum(weights[:, :, None] * extra_texts.astype(jnp.float32), axis=1)


def gradient_of_extras(
    weights: Float[Array, "B N"], image_embeds: Float[Array, "B E"]
) -> Float[Array, "B N E"]:
    """Of the same by the extra texts, float32."""
    return weights[:, :, None] * image_embeds.astype(jnp.float32)[:, None, :]
