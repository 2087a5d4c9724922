"""Does an image lie closer to its report than to a report that says one thing else?

After Ko & Park, Bringing CLIP to the Clinic, CVPR 2025, arXiv 2505.22079, whose variants a language
model wrote. Here `data_prep.variants.alignment` makes and draws them, by rules: the finding denied
(or stated, where the report denies it), left out, at another disc, on the other side.

    accuracy = share of the images whose cosine to the report is the higher one

and of `omitted_then_negated` the share of those that put report, omission and denial in this order.
Cosines that differ by `TIE` at most are tied; equal texts, such as two that differ only behind the
end of the context, have the same cosine but for rounding. Texts that are tied count as in a blind
order: half, and a sixth where all three are.

Two baselines see no image, or none of the patient; gains over them are paired.

- `text_only_accuracy`: the wording alone may give a variant away, see `text_only`. Fitted on 200
  published reports it told every denial and omission of 60 others, 81 % of the level swaps and 63 %
  of the side swaps: it is a ceiling of what can be had by taste in wording.
- `other_images_accuracy`: the mean embedding of other patients' images at the same disc in place of
  the image. It is what the model's own taste in wording reaches, so that
  `accuracy_gain_over_other_images` is what the image itself adds.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_prep.variants import alignment
from lumbarclip_jax.data.dataset import Columns, with_level
from lumbarclip_jax.evaluators import intervals
from lumbarclip_jax.evaluators.bootstrap import estimates, patient_means
from lumbarclip_jax.evaluators.predictions_file import Kept
from lumbarclip_jax.evaluators.task_rows import FEWEST_PATIENTS
from lumbarclip_jax.evaluators.text_only import fit_text_only

# The kinds of text that each compares, as they should be put in order; "" is the report itself.
COMPARISONS = {
    "negated": ("", "negated"),
    "omitted": ("", "omitted"),
    "omitted_then_negated": ("", "omitted", "negated"),
    "level_swap": ("", "level"),
    "side_swap": ("", "side"),
}
CHANCE = {name: 1 / 6 if len(kinds) == 3 else 1 / 2 for name, kinds in COMPARISONS.items()}
BASELINES = ("text_only", "other_images")
TIE = 1e-6  # rounding of a float32 cosine, which differs with the place in a batch


class Alignment:
    """Finds `<split>/alignment/<comparison>/accuracy` for each of `COMPARISONS`.

    Beside it `ties`, the share of images with any tie, and counts of `images` and `patients` that
    have the variants. `<comparison>/<finding>/accuracy` and `<comparison>/<disc>/accuracy` are of
    those whose variant is about it, where `FEWEST_PATIENTS` have one; a variant at two discs counts
    at both. `text_only_accuracy` needs a train and a validation split that have variants,
    `other_images_accuracy` another patient at the disc. A comparison that no image has is left out,
    its counts are 0.
    """

    def __init__(self, embedder, *, split: str, resamples: int = 1000, seed: int = 0):
        self.embedder = embedder
        self.split = split
        self.bootstrap = {"resamples": resamples, "seed": seed}

    def run(self, state) -> tuple[dict[str, float], Kept]:
        return dict(self._numbers(state)), Kept()

    def _numbers(self, state) -> Iterator[tuple[str, float]]:
        fits = {"train", "validation"} <= set(self.embedder.splits)
        fitted_on = [
            _items(self.embedder.columns(name)) for name in ("train", "validation") if fits
        ]
        probes = {
            name: fit_text_only(*(_distinct(items, name) for items in fitted_on))
            for name in COMPARISONS
            if fits
        }
        embedded = self.embedder(state, self.split)
        items = _items(embedded)
        cosines = _Cosines(self.embedder, state, embedded, items)
        of_others = _of_others(embedded)
        for name, kinds in COMPARISONS.items():
            rows = np.array([row for row, item in enumerate(items) if _has(item, name)], int)
            prefix = f"{self.split}/alignment/{name}"
            yield f"{prefix}/images", float(len(rows))
            yield f"{prefix}/patients", float(len(np.unique(embedded.patient_id[rows])))
            if not len(rows):
                continue
            scores = cosines.of(embedded.image_embeds, rows, kinds)
            columns = {"accuracy": in_order(scores)}
            others = cosines.of(of_others, rows, kinds)
            if not np.isnan(others).all():
                unknown = np.isnan(others).any(axis=1)
                columns["other_images_accuracy"] = np.where(unknown, np.nan, in_order(others))
            if probe := probes.get(name):
                said = [probe(_texts(items[row], name)) for row in rows]
                columns["text_only_accuracy"] = in_order(np.array(said))
            patients = embedded.patient_id[rows]
            yield from self._named(prefix, columns, patients, CHANCE[name])
            yield f"{prefix}/ties", float(_tied(scores).any(axis=1).mean())
            # Of an order omission and denial are about the same.
            about = [items[row].variants[kinds[-1]] for row in rows]
            for part, of_part in _groups(about).items():
                if len(np.unique(patients[of_part])) >= FEWEST_PATIENTS:
                    of = {"accuracy": columns["accuracy"][of_part]}
                    yield f"{prefix}/{part}/images", float(len(of_part))
                    yield from self._named(f"{prefix}/{part}", of, patients[of_part], CHANCE[name])

    def _named(
        self, prefix: str, columns: Mapping[str, np.ndarray], patient_id: np.ndarray, chance: float
    ) -> Iterator[tuple[str, float]]:
        patients, owner = np.unique(patient_id, return_inverse=True)
        kinds = dict.fromkeys(columns, intervals.of_share)
        expected = dict.fromkeys(columns, chance)
        for baseline in BASELINES:
            if f"{baseline}_accuracy" in columns:
                gain = columns["accuracy"] - columns[f"{baseline}_accuracy"]
                columns = {**columns, f"accuracy_gain_over_{baseline}": gain}
                expected[f"accuracy_gain_over_{baseline}"] = 0.0
        means = patient_means(columns, owner, len(patients))
        for name, found in estimates(means, patients, intervals=kinds, **self.bootstrap).items():
            yield from found.named(f"{prefix}/{name}", expected[name])


def in_order(scores: np.ndarray) -> np.ndarray:
    """How far texts are in the order in which they should be, the first highest: `[M]`, 0 to 1.

    Args:
      scores: `[M, K]` of two or three texts; a row with ties has the expectation over blind orders
        of the tied.
    """
    tied = _tied(scores)
    right = (tied | (np.diff(scores, axis=1) < 0)).all(axis=1)
    share = np.array([1, 1 / 2, 1 / 6])[tied.sum(axis=1)]
    return np.where(right, share, 0.0)


def _tied(scores: np.ndarray) -> np.ndarray:
    """Whether neighbours are: `[M, K - 1]`."""
    return np.abs(np.diff(scores, axis=1)) <= TIE


def _items(columns: Columns) -> list[alignment.Item]:
    return alignment.items(columns.report.tolist(), columns.level.tolist())


def _has(item: alignment.Item, comparison: str) -> bool:
    kinds = COMPARISONS[comparison][1:]
    return set(kinds) <= item.variants.keys() and (len(kinds) == 1 or item.is_ordered)


def _texts(item: alignment.Item, comparison: str) -> tuple[str, ...]:
    return tuple(_text(item, kind) for kind in COMPARISONS[comparison])


def _text(item: alignment.Item, kind: str) -> str:
    return item.variants[kind].text if kind else item.report


def _distinct(items: Sequence[alignment.Item], comparison: str) -> list[tuple[str, ...]]:
    """The texts of a comparison, once each; many images share a report."""
    return list(dict.fromkeys(_texts(i, comparison) for i in items if _has(i, comparison)))


def _groups(about: Sequence[alignment.Variant]) -> dict[str, np.ndarray]:
    """The places of the variants of each finding, then of each disc."""
    found: dict[str, list[int]] = {}
    for parts in (lambda v: [v.finding], lambda v: v.level.split(", ") if v.level else []):
        for place, variant in enumerate(about):
            for part in parts(variant):
                found.setdefault(part, []).append(place)
    return {part: np.array(places) for part, places in found.items()}


class _Cosines:
    """Cosines of images to their report and its variants, each text read as in training."""

    def __init__(self, embedder, state, embedded, items: Sequence[alignment.Item]):
        self._texts = {
            (row, kind): with_level(_text(item, kind), level, embedder.level_prefix)
            for row, (item, level) in enumerate(zip(items, embedded.level, strict=True))
            for kind in ("", *item.variants)
        }
        distinct = list(dict.fromkeys(self._texts.values()))
        self._place = {text: place for place, text in enumerate(distinct)}
        self._text_embeds = embedder.encode_text(state, distinct)

    def of(self, image_embeds: np.ndarray, rows: np.ndarray, kinds: Sequence[str]) -> np.ndarray:
        """`[R, K]` of the `rows` of embeddings `[M, E]` and their texts of K kinds."""
        places = [[self._place[self._texts[row, kind]] for kind in kinds] for row in rows]
        return np.einsum(
            "re,rke->rk", image_embeds[rows], self._text_embeds[places], dtype=np.float64
        )


def _of_others(embedded) -> np.ndarray:
    """Unit means `[M, E]` of the images of other patients at the disc of each; NaN without any."""
    level = np.unique(embedded.level, return_inverse=True)[1]
    patient = np.unique(embedded.patient_id, return_inverse=True)[1]

    def sums(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sum of the images of each one's group, and their number."""
        total = np.zeros((group.max() + 1, embedded.image_embeds.shape[1]))
        np.add.at(total, group, embedded.image_embeds)
        return total[group], np.bincount(group)[group]

    all_images, count = sums(level)
    own_images, own_count = sums(level + (level.max() + 1) * patient)
    others = np.where((count > own_count)[:, None], all_images - own_images, np.nan)
    return others / np.linalg.norm(others, axis=1, keepdims=True)
