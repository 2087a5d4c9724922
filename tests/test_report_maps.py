"""Similarity maps and saliency: on a planted case, against finite differences, on every encoder."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from ml_collections import ConfigDict

from configs import resnet_linear, swin_linear, vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models import build_model
from lumbarclip_jax.models.projection import unit
from lumbarclip_jax.models.spatial import place_embeds, place_side_px
from lumbarclip_jax.models.variants import vit_sizes
from lumbarclip_jax.report.maps import central_square, draw_rows, make_maps, similarity_maps
from lumbarclip_jax.training.model_state import ModelState


class BrightPlaces(nn.Module):
    """An encoder one can compute by hand: a place's features are its mean grey and 1."""

    stage_depths: tuple[int, ...] = (1,)

    def __call__(self, images, *, train: bool = False):
        batch, side = len(images), images.shape[1] // 4
        squares = images.reshape(batch, side, 4, side, 4).mean(axis=(2, 4))
        places = jnp.stack([squares, jnp.ones_like(squares)], axis=-1)
        return {"last_hidden_state": places, "pooled": places.mean(axis=(1, 2))}


class HandMade(nn.Module):
    image_encoder: nn.Module
    image_reduction: None = None

    def image_projection(self, x):
        return x

    def encode_image(self, images):
        pooled = self.image_encoder(images)["pooled"]
        norm = jnp.sqrt(jnp.sum(pooled**2, axis=-1, keepdims=True))
        return {"image_embeds": pooled / norm}


DATA = ConfigDict({"crop_px": 8, "image_size_px": 8})
EMPTY = ModelState(step=jnp.zeros((), jnp.int32), params={}, batch_stats={})


def planted() -> np.ndarray:
    """A dark image whose lower left quarter is bright, uint8 [1, 8, 8, 1]."""
    image = np.zeros((1, 8, 8, 1), np.uint8)
    image[:, 4:, :4] = 200
    return image


def hand_made():
    return make_maps(HandMade(BrightPlaces()), ConfigDict({"data": DATA}), sharding.make_mesh())


@pytest.mark.usefixtures("annotations_off")  # a model made by hand stands in
def test_a_bright_corner_is_found_where_it_is():
    places, _ = hand_made()
    bright = np.array([1.0, 0.0])
    similarity = np.asarray(places(EMPTY, planted()))[0] @ bright
    # A quarter of the pixels is bright: standardised they are sqrt(3), the others -1 / sqrt(3).
    high, low = np.sqrt(3), -1 / np.sqrt(3)
    low, high = low / np.hypot(low, 1), high / np.hypot(high, 1)
    np.testing.assert_allclose(similarity, [[low, low], [high, low]], atol=2e-3)


@pytest.mark.usefixtures("annotations_off")  # a model made by hand stands in
def test_saliency_equals_finite_differences():
    _, gradient = hand_made()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 8, 8, 1), np.uint8)
    text = np.array([[0.6, 0.8], [1.0, 0.0]], np.float32)
    slope = np.asarray(gradient(EMPTY, images, text))
    assert slope.shape == (2, 8, 8, 1)

    pixels = np.asarray(prepare_images(jnp.asarray(images), DATA), np.float64)

    def cosine(i: int, image: np.ndarray) -> float:
        pooled = np.array([image.mean(), 1.0])
        return float(pooled @ text[i] / np.linalg.norm(pooled))

    for i, row, column in ((0, 1, 2), (0, 7, 0), (1, 4, 5)):
        step = np.zeros_like(pixels[i])
        step[row, column] = 1e-4
        slope_there = (cosine(i, pixels[i] + step) - cosine(i, pixels[i] - step)) / 2e-4
        assert slope[i, row, column, 0] == pytest.approx(slope_there, rel=1e-3)


# The compilation of a larger one takes most of the time.
SMALL_SWIN = {"width": 8, "stage_depths": (1, 1, 1), "stage_heads": (1, 1, 1)}
SIGLIP_VIT = vit_sizes("XS/8") | {"use_class_token": False}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "sizes", "side", "side_px"),
    [
        (vit_linear, None, 4, 8),
        (vit_linear, SIGLIP_VIT, 4, 8),
        (swin_linear, SMALL_SWIN, 2, 16),
        (resnet_linear, None, 2, 16),
    ],
)
def test_every_encoder_has_places_that_pool_to_its_embedding(config, sizes, side, side_px):
    config = config.get_config("quick")
    config.model.embed_dim = 8
    config.model.image_encoder.sizes = sizes
    model = build_model(config.model, vocab_size=10)
    images = jnp.asarray(np.random.default_rng(0).normal(size=(2, 32, 32, 1)), jnp.float32)
    tokens = jnp.ones((2, 3), jnp.int32)

    def mean_place(model, images):
        """The mean of the places, projected."""
        seen = model.image_encoder(images)
        width = seen["pooled"].shape[-1]
        hidden = seen["last_hidden_state"].reshape(2, -1, width)[:, -(side**2) :]
        return unit(model.image_projection(hidden.mean(axis=1)))

    @jax.jit
    def both(images):
        variables = sharding.unbox(model.init(jax.random.key(0), images, tokens, tokens))
        return (
            model.apply(variables, images, method=place_embeds),
            model.apply(variables, images, method=mean_place),
            model.apply(variables, images, method="encode_image")["image_embeds"],
        )

    places, mean, embeds = both(images)
    assert places.shape == (2, side, side, 8)
    assert side * side_px == 32
    assert place_side_px(model.image_encoder) == side_px
    np.testing.assert_allclose(jnp.sum(places**2, axis=-1), 1, rtol=1e-5)
    np.testing.assert_allclose(mean, embeds, atol=1e-5)


def test_rows_are_of_different_patients_and_of_both_classes():
    labels = np.array([0, 0, 0, 0, 1, 1, -1, -1])
    patients = np.array(list("aabbcdef"))
    drawn = draw_rows(labels, patients, 4, np.random.default_rng(0))
    assert sorted(labels[drawn]) == [0, 0, 1, 1]
    assert len(set(patients[drawn])) == 4
    everyone = draw_rows(labels, patients, 99, np.random.default_rng(0))
    assert sorted(patients[everyone]) == list("abcdef")


def test_the_square_is_the_one_the_model_sees():
    image = np.arange(36, dtype=np.uint8).reshape(6, 6)
    assert central_square(image, 2).tolist() == [[14, 15], [20, 21]]
    padded = central_square(image, 8)
    assert padded.shape == (8, 8)
    np.testing.assert_array_equal(padded[1:7, 1:7], image)
    assert not padded[0].any()


def test_maps_of_a_run(tiny_run):
    dataset = Dataset(tiny_run.config.data.dir)
    maps = similarity_maps(tiny_run, tiny_run.embedder(dataset), "test", images=3)
    assert len(maps.images) == 3
    assert maps.pools_by_mean
    assert maps.projects_linearly
    assert maps.place_side == 8 / 32
    for one in maps.images:
        assert one.image.shape == (28, 28)
        assert one.similarity.shape == one.contrast.shape == (4, 4)
        assert one.saliency.shape == (32, 32)
        assert one.saliency.min() >= 0
        assert one.saliency.max() > 0
        assert -1 <= one.similarity.min() <= one.similarity.max() <= 1
