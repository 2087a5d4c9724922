"""The windows of Swin: how they are cut, numbered and masked."""

import jax.numpy as jnp
import numpy as np

from lumbarclip_jax.models.swin import (
    relative_position_index,
    shift_mask,
    window_merge,
    window_partition,
)


def test_windows_are_taken_row_by_row():
    image = jnp.arange(16.0).reshape(1, 4, 4, 1)
    windows = window_partition(image, 2)
    assert windows[0, :, :, 0].tolist() == [
        [0, 1, 4, 5],
        [2, 3, 6, 7],
        [8, 9, 12, 13],
        [10, 11, 14, 15],
    ]
    np.testing.assert_array_equal(window_merge(windows, 2, (4, 4)), image)


def test_relative_position_index_of_a_two_by_two_window():
    assert relative_position_index(2).tolist() == [
        [4, 3, 1, 0],
        [5, 4, 2, 1],
        [7, 6, 4, 3],
        [8, 7, 5, 4],
    ]


def test_shift_mask_by_brute_force():
    """After rolling by `shift`, tokens may attend to those that the roll left next to them."""
    rows, columns, window, shift = 6, 9, 3, 1
    coordinates = jnp.stack(jnp.mgrid[:rows, :columns], axis=-1)[None].astype(jnp.float32)
    rolled = jnp.roll(coordinates, (-shift, -shift), axis=(1, 2))
    windows = np.asarray(window_partition(rolled, window))[0]
    mask = shift_mask((rows, columns), window, shift)
    assert mask.shape == (6, 9, 9)
    for index, tokens in enumerate(windows):
        distance = np.abs(tokens[:, None] - tokens[None]).max(axis=-1)
        np.testing.assert_array_equal(mask[index] == 0, distance < window)
