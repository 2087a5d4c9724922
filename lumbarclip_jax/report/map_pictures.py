"""Pictures of the embedding map, and of similarity and saliency laid over slices."""

import dataclasses
import math

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageOps

from lumbarclip_jax.report.embedding_map import EmbeddingMap
from lumbarclip_jax.report.figures import INK, MUTED, Drawn, Numbers, Picture, finish, png_uri
from lumbarclip_jax.report.maps import Maps
from lumbarclip_jax.report.tables import title

# Blue, orange and purple keep apart for every kind of colour vision.
GROUPS = ("#0b6e99", "#d98c00", "#8a5a9e", "#3f7d4e", "#c8553d", "#4a5568")
PICTURE_PX = 320
OPACITY = 0.5
UNLABELLED = "not labelled"


def embedding_pictures(embedded: EmbeddingMap) -> list[Drawn]:
    """The same points coloured by level, and by the classes of each task of the map."""
    levels, level_of_row = np.unique(embedded.level, return_inverse=True)
    drawn = [_scatter(embedded, "Coloured by disc level", "level", levels.tolist(), level_of_row)]
    for of in embedded.colourings:
        names = [*of.classes, UNLABELLED]
        labels = np.where(of.label < 0, len(of.classes), of.label)
        heading = f"Coloured by {title(of.task).lower()}"
        drawn.append(_scatter(embedded, heading, of.task, names, labels))
    return drawn


def group_colours(count: int) -> list:
    """Of as many groups; more than there are in `GROUPS` lie along a rainbow."""
    if count <= len(GROUPS):
        return list(GROUPS[:count])
    return list(matplotlib.colormaps["turbo"](np.linspace(0.05, 0.95, count)))


def _scatter(
    embedded: EmbeddingMap, heading: str, what: str, names: list[str], group: np.ndarray
) -> Drawn:
    figure = Figure(figsize=(4.6, 4.4), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(heading, loc="left", fontsize=11, color=INK)
    images, reports = embedded.image_xy, embedded.report_xy
    axes.plot(
        *np.stack([images, reports], axis=1).T, color=MUTED, alpha=0.22, linewidth=0.5, zorder=1
    )
    counts = []
    groups = [name for name in names if name != UNLABELLED]
    colours = dict(zip(groups, group_colours(len(groups)), strict=True))
    for k, name in enumerate(names):
        rows = group == k
        if not rows.any():
            continue
        colour = colours.get(name, MUTED)
        axes.scatter(*images[rows].T, s=17, color=colour, linewidth=0, label=name, zorder=3)
        axes.scatter(
            *reports[rows].T,
            s=20,
            marker="^",
            facecolor="white",
            edgecolor=colour,
            lw=0.9,
            zorder=2,
        )
        counts.append(f"{rows.sum()} {name}")
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
        side.set_color("#e3e8ee")
    shapes = [
        axes.scatter([], [], s=17, color=INK, linewidth=0, label="image"),
        axes.scatter(
            [], [], s=20, marker="^", facecolor="white", edgecolor=INK, label="its report"
        ),
    ]
    handles = [h for h in axes.get_legend_handles_labels()[0] if h not in shapes]
    figure.legend(
        handles=[*handles, *shapes],
        loc="outside lower center",
        ncols=3,
        fontsize=10,
        frameon=False,
        labelcolor=INK,
    )
    points = (("image", images), ("report", reports))
    numbers = Numbers(
        ("pair", "kind", "x", "y", what),
        [
            (pair, kind, *xy, names[group[pair]])
            for kind, of in points
            for pair, xy in enumerate(of)
        ],
    )
    text = f"{heading}: {', '.join(counts)}"
    return finish(figure, text, f"{embedded.split}_embeddings_by_{what}", numbers)


@dataclasses.dataclass(frozen=True)
class Scale:
    """A colour bar: `gradient` is CSS, `ticks` the values at its ends and middle."""

    low: float
    high: float
    colours: str

    def colour(self, values: np.ndarray) -> np.ndarray:
        """uint8 `[..., 3]`."""
        span = max(self.high - self.low, 1e-12)
        return (
            255 * matplotlib.colormaps[self.colours]((values - self.low) / span)[..., :3]
        ).astype(np.uint8)

    @property
    def gradient(self) -> str:
        stops = self.colour(np.linspace(self.low, self.high, 9))
        return f"linear-gradient(to right, {', '.join(f'rgb({r},{g},{b})' for r, g, b in stops)})"

    @property
    def ticks(self) -> list[str]:
        middle = (self.low + self.high) / 2
        decimals = max(2, 1 - math.floor(math.log10(max(self.high - self.low, 1e-9))))
        shown = (f"{value:.{decimals}f}" for value in (self.low, middle, self.high))
        return [value.replace("-", "−") for value in shown]


@dataclasses.dataclass(frozen=True)
class Overlays:
    """The pictures of one slice, each the same square."""

    slice: Picture
    similarity: Picture
    contrast: Picture
    saliency: Picture


@dataclasses.dataclass(frozen=True)
class MapPictures:
    """Overlays `[images]`, and the scales that all of them share."""

    similarity: Scale
    contrast: Scale
    saliency: Scale
    overlays: list[Overlays]


def map_pictures(maps: Maps) -> MapPictures:
    """Similarities on one scale for all slices; saliency as a share of each slice's largest."""
    similar = np.stack([one.similarity for one in maps.images])
    furthest = max(float(np.abs([one.contrast for one in maps.images]).max()), 1e-6)
    similarity = Scale(float(similar.min()), float(similar.max()), "viridis")
    contrast = Scale(-furthest, furthest, "coolwarm")
    saliency = Scale(0.0, 1.0, "inferno")
    overlays = []
    for one in maps.images:
        where = f"axial slice at {one.level}"
        plain = ImageOps.autocontrast(Image.fromarray(one.image), cutoff=(0, 1))
        plain = plain.resize((PICTURE_PX,) * 2, Image.Resampling.BICUBIC)
        largest = max(float(one.saliency.max()), 1e-30)
        overlays.append(
            Overlays(
                slice=Picture(png_uri(plain), where),
                similarity=overlay(
                    plain,
                    similarity.colour(one.similarity),
                    maps.place_side,
                    f"{where}, similarity with its report, {_highest(one.similarity)}",
                ),
                contrast=overlay(
                    plain,
                    contrast.colour(one.contrast),
                    maps.place_side,
                    f"{where}, nearer to {maps.classes[1]}, {_highest(one.contrast)}",
                ),
                saliency=overlay(
                    plain,
                    saliency.colour(one.saliency / largest),
                    1 / len(one.saliency),
                    f"{where}, saliency, {_highest(one.saliency)}",
                    opacity=0.75 * one.saliency / largest,
                ),
            )
        )
    return MapPictures(similarity, contrast, saliency, overlays)


def overlay(
    plain: Image.Image,
    colours: np.ndarray,
    side: float,
    text: str,
    opacity: np.ndarray | float = OPACITY,
) -> Picture:
    """Squares of `side` (in sides of the picture) from the upper left, laid over a grey picture.

    Args:
      plain: grey, square.
      colours: uint8 `[h, w, 3]`.
      opacity: of all squares, or of each `[h, w]`.

    Squares are drawn as squares: a smooth map would show detail that the model does not have.
    """
    at = (np.arange(plain.width) + 0.5) / plain.width / side
    covered = (at < len(colours)).astype(np.float64)
    place = np.ix_(*2 * [np.minimum(at.astype(int), len(colours) - 1)])
    share = np.broadcast_to(opacity, colours.shape[:2])[place] * covered[:, None] * covered
    grey = np.asarray(plain, np.float64)
    mixed = (1 - share[..., None]) * grey[..., None] + share[..., None] * colours[place]
    picture = Image.fromarray(mixed.astype(np.uint8))
    return Picture(png_uri(picture.quantize(128, dither=Image.Dither.NONE)), text)


def _highest(values: np.ndarray) -> str:
    row, column = np.unravel_index(values.argmax(), values.shape)
    return f"highest in row {row + 1} of {len(values)}, column {column + 1} of {values.shape[1]}"
