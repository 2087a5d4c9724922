"""Zero-shot by the features: the same question, asked of other vectors."""

import numpy as np
import pytest

from lumbarclip_jax.evaluators import evaluator_class
from tests.fake_embedder import FakeEmbedder, make_split

TASK = "disc_displacement"
NAME = "zero_shot_features"


class WithFeatures(FakeEmbedder):
    """Texts have features, too, in which denial is axis 0; their embeddings say the opposite."""

    has_shared_features = True

    def encode_text(self, state, texts, output: str = "text_embeds") -> np.ndarray:
        embeds = super().encode_text(state, texts)
        return 3 * embeds[:, :5] if output == "text_features" else -embeds


def measured(name: str, embedder) -> tuple[dict, object]:
    options = {"split": "test", "tasks": (TASK,), "resamples": 50}
    return evaluator_class(name)(embedder, **options).run(state=None)


def test_features_answer_in_place_of_embeddings():
    embedder = WithFeatures(
        train=make_split(60, 0), validation=make_split(20, 1), test=make_split(40, 2)
    )
    found, kept = measured(NAME, embedder)
    of_embeds, kept_of_embeds = measured("zero_shot", embedder)
    assert found[f"test/{NAME}/{TASK}/auroc"] > 0.8
    assert of_embeds[f"test/zero_shot/{TASK}/auroc"] < 0.2
    for ours, theirs in ((found, of_embeds), (kept.predictions, kept_of_embeds.predictions)):
        assert [name.replace(NAME, "zero_shot") for name in ours] == list(theirs)
    # Features of any length have the cosines, and probabilities, of their directions.
    rows = embedder(None, "test")
    cosine = rows.image_features[:, 0] / np.linalg.norm(rows.image_features, axis=1)
    said = kept.predictions[f"test/{NAME}/{TASK}"].probabilities[:, 1]
    assert np.corrcoef(cosine, np.log(said / (1 - said)))[0, 1] > 0.98


def test_features_of_two_widths_are_refused():
    embedder = FakeEmbedder(test=make_split(4, 0))
    embedder.has_shared_features = False
    with pytest.raises(ValueError, match=r"widths are those of the encoders .*model\.feature_dim"):
        measured(NAME, embedder)
