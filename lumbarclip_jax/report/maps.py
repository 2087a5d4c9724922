"""Where in an image the model finds a text, by two means that need no training of their own.

Similarity: every place of the last map, projected, against the embedding of a text. Saliency: how
much the cosine of image and report moves with a pixel (Simonyan et al. 2014, arXiv 1312.6034),
blurred because the gradient of single pixels is noise.
"""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict
from scipy import ndimage

from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.evaluators.zero_shot import class_embeds
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models.spatial import place_embeds, place_side_px

# Of the blur of a saliency map, in sides of the image: two pixels of 64.
BLUR = 1 / 32


@dataclasses.dataclass(frozen=True)
class ImageMaps:
    """One slice with its maps; all of them cover the square that the model sees."""

    image: np.ndarray  # uint8 [c, c], the square at the resolution it is stored in
    level: str
    label: str  # its class in the task of the contrast, empty when not labelled
    report: str
    cosine: float  # of image and report
    similarity: np.ndarray  # [h, w] cosines of the places with the report
    contrast: np.ndarray  # [h, w] cosines with the positive prompts less those with the negative
    saliency: np.ndarray  # [H, W] absolute derivative of the cosine with a pixel, blurred


@dataclasses.dataclass(frozen=True)
class Maps:
    """`place_side` is the side of a place's square, in sides of the image."""

    split: str
    task: str
    classes: tuple[str, ...]  # two
    pools_by_mean: bool
    projects_linearly: bool
    image_side_px: int
    place_side: float
    images: tuple[ImageMaps, ...]


def make_maps(model, config: ConfigDict, mesh: Mesh):
    """Returns jitted `places(state, images)` and `gradient(state, images, text_embeds)`.

    `images` are stored slices, uint8 [B, S, S, 1]; `text_embeds` f32 [B, E] of unit length.
    `places` gives the unit embeddings [B, h, w, E] of all places, `gradient` the derivative
    [B, H, W, 1] of each image's cosine with its text, with respect to the standardised pixels.
    Every device computes all of it: it is for a handful of images.
    """
    everywhere = NamedSharding(mesh, PartitionSpec())

    def variables(state):
        return {"params": state.params, "batch_stats": state.batch_stats}

    def places(state, images):
        pixels = prepare_images(images, config.data)
        return model.apply(variables(state), pixels, method=place_embeds)

    def gradient(state, images, text_embeds):
        def cosines(pixels):
            out = model.apply(variables(state), pixels, method="encode_image")
            return jnp.sum(out["image_embeds"] * text_embeds)

        return jax.grad(cosines)(prepare_images(images, config.data))

    return jax.jit(places, out_shardings=everywhere), jax.jit(gradient, out_shardings=everywhere)


def similarity_maps(
    run, embedder, split: str, *, task: str = "disc_displacement", images: int = 4, seed: int = 0
) -> Maps:
    """Maps of a few images of a split: one a patient, the classes of the task in turn.

    Drawn at random with a fixed seed, never for their looks. Every process must call it.

    Args:
      run: the `Run` whose model is asked.
      embedder: of the run, over a data set.
      task: whose prompts are contrasted, and which is as balanced as there are labels for it.
    """
    embedded = embedder(run.state, split)
    labels = TASKS[task].labels(embedded)
    rows = draw_rows(labels, embedded.patient_id, images, np.random.default_rng(seed))
    stored = embedder.images(split, rows)
    places, gradient = make_maps(run.model, run.config, run.mesh)
    place = np.asarray(places(run.state, stored), np.float32)
    text = embedded.text_embeds[rows]
    slope = np.abs(np.asarray(gradient(run.state, stored, text), np.float32)[..., 0])
    levels = np.unique(embedded.level[rows])
    classes = class_embeds(embedder, run.state, [TASKS[task]], levels)[task]
    size = run.config.data.image_size_px

    def one(i: int, row: int) -> ImageMaps:
        level, label = embedded.level[row], labels[row]
        negative, positive = classes[level]
        return ImageMaps(
            image=central_square(stored[i, :, :, 0], run.config.data.crop_px),
            level=str(level),
            label=TASKS[task].classes[label] if label >= 0 else "",
            report=str(embedded.report[row]),
            cosine=float(embedded.image_embeds[row] @ text[i]),
            similarity=place[i] @ text[i],
            contrast=place[i] @ (positive - negative),
            saliency=ndimage.gaussian_filter(slope[i], BLUR * size),
        )

    encoder = run.model.image_encoder
    return Maps(
        split=split,
        task=task,
        classes=TASKS[task].classes,
        pools_by_mean=encoder.pooling == "mean",
        projects_linearly=run.model.image_projection.kind.startswith("linear"),
        image_side_px=size,
        place_side=place_side_px(encoder) / size,
        images=tuple(one(i, row) for i, row in enumerate(rows)),
    )


def draw_rows(
    labels: np.ndarray, patient_id: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """At most `count` rows of different patients: every class in turn, then what has no label."""
    shuffled = rng.permutation(len(labels))
    labels = labels[shuffled]
    classes = [shuffled[labels == label].tolist() for label in np.unique(labels[labels >= 0])]
    unlabelled = shuffled[labels < 0].tolist()
    drawn: list[int] = []
    patients: set[str] = set()
    for row in [*interleaved(classes[::-1]), *unlabelled]:
        if len(drawn) < count and patient_id[row] not in patients:
            patients.add(patient_id[row])
            drawn.append(row)
    return np.array(drawn)


def interleaved(queues: list[list[int]]) -> list[int]:
    """One of each queue in turn, until all are empty."""
    turns = itertools.zip_longest(*queues)
    return [row for turn in turns for row in turn if row is not None]


def central_square(image: np.ndarray, side: int) -> np.ndarray:
    """The central `side` pixels of a square `[S, S]`, with black around it where S is smaller."""
    margin = max(0, side - len(image))
    image = np.pad(image, ((margin // 2, margin - margin // 2),) * 2)
    start = (len(image) - side) // 2
    return image[start : start + side, start : start + side]
