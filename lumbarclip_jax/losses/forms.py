"""Which form of a loss to compute: dense, in blocks, or in blocks over a mesh."""

from jax.sharding import Mesh

from lumbarclip_jax.losses import METHODS, Method
from lumbarclip_jax.losses.blockwise import Exchange, OneDevice
from lumbarclip_jax.losses.sharded import Gather, Ring

BLOCK_SIZE = 1024  # a square of float32 takes 4 MiB; about ten are alive at once

# The dense loss and its gradient keep about ten B×B float32 matrices alive (measured).
DENSE_BYTES_PER_PAIRING = 40
DENSE_LIMIT_BYTES = 2**30  # B = 5181
GATHER_LIMIT_BYTES = 4 * 2**30  # B = 1 M at E = 512 in float32


def choose_exchange(
    method: Method, mesh: Mesh | None, block_size: int, image_embeds, text_embeds
) -> Exchange | None:
    """How rows meet keys, or None for the dense form.

    "auto" on one device (no mesh, or a mesh of one) is dense while that takes at most 1 GiB, then
    blockwise. On a mesh it is gather while the gathered embeddings take at most 4 GiB a device,
    then ring.

    Raises:
      ValueError: if the embeddings are not two [B, E] arrays of one shape, the method is unknown,
        needs a mesh or cannot use one, the mesh does not divide the batch, or a block is empty.
    """
    if image_embeds.shape != text_embeds.shape or image_embeds.ndim != 2:
        raise ValueError(
            f"image_embeds {image_embeds.shape} and text_embeds {text_embeds.shape} must have the "
            "same shape [B, E]: row i of both is pair i."
        )
    if block_size < 1:
        raise ValueError(f"block_size must be at least 1, not {block_size}.")
    if method not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}.")
    batch = len(image_embeds)
    devices = 1 if mesh is None else mesh.size
    if method == "auto" and devices == 1:
        dense_bytes = DENSE_BYTES_PER_PAIRING * batch**2
        method = "dense" if dense_bytes <= DENSE_LIMIT_BYTES else "blockwise"
    elif method == "auto":
        gathered_bytes = 2 * image_embeds.size * image_embeds.dtype.itemsize
        method = "gather" if gathered_bytes <= GATHER_LIMIT_BYTES else "ring"

    if method == "dense":
        return None
    if method == "blockwise":
        if devices > 1:
            raise ValueError(
                'method "blockwise" is the form for one device; on a mesh of '
                f'{devices} use "gather", "ring" or "auto".'
            )
        return OneDevice(block_size)
    if mesh is None:
        raise ValueError(f'method "{method}" works over a mesh; pass mesh=.')
    if batch % devices:
        raise ValueError(
            f"a batch of {batch} pairs cannot be shared equally by the {devices} devices of the "
            f"mesh; use a multiple of {devices}."
        )
    return (Gather if method == "gather" else Ring)(block_size, mesh)
