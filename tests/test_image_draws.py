"""The images of a pair: which others of a study are another view, and how they are drawn."""

import collections
import types

import numpy as np
import pytest

from configs import base
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.image_draws import ImageDraws, Studies
from lumbarclip_jax.data.label_prompts import Wordings
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.text_draws import TextDraws
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.training import config_check

# Rows of two studies, out of order: (study, level, sequence).
IMAGES = [
    ("a", "L3-L4", "T1"),
    ("b", "L4-L5", "T1"),
    ("a", "L4-L5", "T1"),
    ("a", "L4-L5", "T2"),
    ("a", "L4-L5", "T1"),
    ("a", "all", "T1"),
    ("a", "all", "T2"),
]
OTHERS = {
    # of row 2, an axial T1 slice of L4-L5
    "same": [2],
    "neighbour": [4],
    "sequence": [3],
    "level": [0],
    "plane": [5, 6],
}


@pytest.fixture(scope="module")
def columns():
    names = ("study", "level", "sequence")
    of = zip(names, map(np.array, zip(*IMAGES, strict=True)), strict=True)
    return types.SimpleNamespace(**dict(of))


@pytest.fixture(scope="module")
def studies(columns):
    return Studies(columns, np.arange(len(IMAGES)))


@pytest.mark.parametrize("kind", OTHERS)
def test_other_views_of_an_axial_slice(studies, kind):
    assert studies(2).rows(kind).tolist() == OTHERS[kind]
    drawn = {ImageDraws(2, (kind,))(studies(2), seed)[0] for seed in range(30)}
    assert drawn == set(OTHERS[kind])


def test_the_whole_spine_is_no_level_beside_others(studies):
    assert studies(5).rows("level").tolist() == []
    assert studies(5).rows("sequence").tolist() == [6]
    assert studies(5).rows("plane").tolist() == [0, 2, 3, 4]


def test_an_image_without_another_is_seen_again(studies):
    every = ImageDraws(3, ("neighbour", "sequence", "level", "plane"))
    assert every(studies(1), seed=0) == [1, 1]
    assert studies.alone(("neighbour",)) == len(IMAGES) - 2
    assert studies.alone(("neighbour", "level", "plane")) == 1


def test_kinds_are_drawn_equally_often_and_no_image_twice(studies):
    draws = ImageDraws(3, ("neighbour", "plane"))
    pairs = [draws(studies(2), seed) for seed in range(600)]
    assert all(len(set(pair)) == 2 for pair in pairs)
    first = collections.Counter(pair[0] for pair in pairs)
    assert abs(first[4] - 300) < 60
    assert abs(first[5] - 150) < 50
    assert pairs == [draws(studies(2), seed) for seed in range(600)]


def test_only_rows_that_are_trained_on_are_other_views(columns):
    assert Studies(columns, np.array([2, 3, 1]))(2).rows("neighbour").tolist() == []


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"other_images": ("twin",)}, "names 'twin', which is not one of same, neighbour"),
        ({"other_images": ()}, "names nothing that a second image could be"),
        ({"other_images": ("level",), "image_views": 2}, "set data.level_prefix=False"),
        ({"image_views": 0}, "data.image_views=0 must be at least 1"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, sentence):
    config = base.get_config()
    config.data.update(fields)
    with pytest.raises(ValueError, match=sentence):
        config_check.validated(config)


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


def batches(dataset, **options):
    tokenizer = Tokenizer(dataset.folder / "vocab.txt", max_tokens=12)
    defaults = {
        "global_batch_size": 8,
        "seed": 3,
        "level_prefix": False,
        "image_draws": ImageDraws(3, ("level",)),
        "text_draws": TextDraws(keep_sentence=0.5),
        "read_threads": 0,
        "prefetch_batches": 0,
    }
    return train_iterator(dataset, tokenizer, **(defaults | options))


def test_a_batch_holds_several_images_of_a_study(dataset):
    fields = ("images", "input_ids", "attention_mask", "report_group")
    batch = next(batches(dataset, fields=fields))
    columns = dataset.columns("train")
    pixels = dataset.images("train", np.arange(len(columns.level)))
    groups = np.unique(columns.report_group, return_inverse=True)[1]
    assert batch["images"].shape == (8, 3, *pixels.shape[1:])
    for views, group in zip(batch["images"], batch["report_group"], strict=True):
        rows = [int(np.flatnonzero((pixels == view).all(axis=(1, 2, 3)))[0]) for view in views]
        assert len(set(columns.study_id[rows])) == 1
        assert len(set(columns.level[rows])) == 3
        assert set(groups[rows]) == {group}


def test_the_first_image_and_the_texts_are_those_of_one_view(dataset):
    one = next(batches(dataset, image_draws=ImageDraws()))
    several = next(batches(dataset))
    np.testing.assert_array_equal(several["images"][:, :1], one["images"])
    np.testing.assert_array_equal(several["input_ids"], one["input_ids"])


def test_views_are_the_same_for_any_number_of_processes_and_after_a_stop(dataset):
    whole = batches(dataset)
    expected = [next(whole)["images"] for _ in range(4)]
    parts = [batches(dataset, process_index=part, process_count=2) for part in range(2)]
    for images in expected:
        np.testing.assert_array_equal(images, np.concatenate([next(of)["images"] for of in parts]))
    again = batches(dataset)
    again.set_state({"next_index": 3})
    np.testing.assert_array_equal(next(again)["images"], expected[3])


@pytest.mark.parametrize("field", ["level", "label/pfirrmann_ge_3"])
def test_what_is_known_of_one_disc_does_not_go_with_views_of_others(dataset, field):
    with pytest.raises(ValueError, match=f"the objective reads '{field}', which is of the level"):
        batches(dataset, fields=("images", field))
    of_patient = ("images", "label/muscle_spasm")
    assert next(batches(dataset, fields=of_patient))["images"].shape[1] == 3


@pytest.mark.parametrize(
    ("term", "settings", "field"),
    [
        ("labels", {"tasks": ("patient_displacement",)}, "level"),
        ("sup_con", {"task": "pfirrmann_ge_3"}, "label/pfirrmann_ge_3"),
    ],
)
def test_the_config_shows_what_is_known_of_one_disc(term, settings, field):
    config = base.get_config()
    config.data.update(level_prefix=False, image_views=2, other_images=("level",))
    config.objective[term].update(weight=1.0, **settings)
    with pytest.raises(ValueError, match=f"the objective reads '{field}', which is of the level"):
        config_check.validated(config)
    config.data.other_images = ("sequence",)
    config_check.validated(config)


def test_a_label_of_one_disc_in_words_does_not_go_with_views_of_others(dataset):
    def draws(*tasks):
        return TextDraws(wordings=Wordings(), prompt_tasks=tasks, prompt_share=0.5)

    of_disc = draws("muscle_spasm", "disc_displacement")
    with pytest.raises(ValueError, match=r"data\.prompts\.tasks says what the disc of the first"):
        batches(dataset, text_draws=of_disc)
    others = ImageDraws(2, ("sequence",))
    for options in (
        {"text_draws": draws("muscle_spasm")},
        {"text_draws": of_disc, "image_draws": others},
        {"text_draws": of_disc, "image_draws": ImageDraws(1, ("level",))},
    ):
        next(batches(dataset, **options))


def test_the_config_says_what_is_drawn():
    config = base.get_config()
    assert pipeline_options(config)["image_draws"] == ImageDraws()
    config.data.update(image_views=2, other_images=("sequence", "same"))
    assert pipeline_options(config)["image_draws"] == ImageDraws(2, ("sequence", "same"))
