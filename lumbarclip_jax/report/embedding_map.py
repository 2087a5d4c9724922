"""Images and reports of a split on one plane: t-SNE (van der Maaten & Hinton 2008)."""

import dataclasses

import numpy as np
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from lumbarclip_jax.data.tasks import ANY_FINDING, TASKS

# More points than this take minutes and hide one another.
MAX_IMAGES = 600


@dataclasses.dataclass(frozen=True)
class Colouring:
    """The classes of the N images in one task: `label` indexes `classes`, -1 = not labelled."""

    task: str
    classes: tuple[str, ...]
    label: np.ndarray  # [N]


@dataclasses.dataclass(frozen=True)
class EmbeddingMap:
    """N images and the reports they go with, row by row, as points of one plane.

    `colourings` are of the tasks in which some image has a label. `pair_cosine` is the mean cosine
    of an image and its own report in the full space, `other_cosine` that of an image and another
    patient's report.
    """

    split: str
    of_images: int  # images in the split, of which these N were drawn
    image_xy: np.ndarray  # [N, 2]
    report_xy: np.ndarray  # [N, 2]
    level: np.ndarray  # [N]
    colourings: tuple[Colouring, ...]
    pair_cosine: float
    other_cosine: float


def embedding_map(embedder, state, split: str, *, seed: int = 0) -> EmbeddingMap:
    """Lays out at most `MAX_IMAGES` images of a split, drawn by patient, and their reports.

    They are coloured by disc displacement, by normal and abnormal, and by the data set's own tasks.

    Each modality's mean is taken away first. Contrastive models put images and texts on two
    separate islands (the modality gap, Liang et al. 2022, arXiv 2203.02053); ranking within a
    modality does not see the gap, and without this the picture shows nothing else.
    """
    embedded = embedder(state, split)
    rows = some_patients(embedded.patient_id, MAX_IMAGES, np.random.default_rng(seed))
    images, texts = embedded.image_embeds[rows], embedded.text_embeds[rows]
    cosines = images @ texts.T
    patient = embedded.patient_id[rows]
    strangers = patient[:, None] != patient
    points = np.concatenate([images - images.mean(axis=0), texts - texts.mean(axis=0)])
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
    tsne = TSNE(perplexity=min(30.0, (len(points) - 1) / 3), init="pca", random_state=seed)
    # Its threads wait for each other in thousands of short steps: one was 3 times as fast as two.
    with threadpool_limits(1):
        layout = tsne.fit_transform(points.astype(np.float32))
    return EmbeddingMap(
        split=split,
        of_images=len(embedded.patient_id),
        image_xy=layout[: len(rows)],
        report_xy=layout[len(rows) :],
        level=embedded.level[rows],
        colourings=_colourings(embedded, rows),
        pair_cosine=float(np.diagonal(cosines).mean()),
        other_cosine=float(cosines[strangers].mean()) if strangers.any() else float("nan"),
    )


def _colourings(embedded, rows: np.ndarray) -> tuple[Colouring, ...]:
    own = [task for name, task in embedded.tasks.items() if name not in TASKS]
    tasks = (TASKS["disc_displacement"], ANY_FINDING, *own)
    found = [Colouring(of.name, of.classes, np.asarray(of.labels(embedded))[rows]) for of in tasks]
    return tuple(of for of in found if (of.label >= 0).any())


def some_patients(patient_id: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows, ascending, of whole patients drawn until `most` rows are reached."""
    patients, patient_of_row = np.unique(patient_id, return_inverse=True)
    place = rng.permutation(len(patients))[patient_of_row]
    order = np.argsort(place, kind="stable")
    return np.sort(order[:most])
