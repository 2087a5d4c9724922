"""The authors' question: who answers it by what, and that nobody peeks."""

import dataclasses

import numpy as np
import pytest

from lumbarclip_jax.authors_protocol import answers, page
from lumbarclip_jax.data.tasks import tasks_of
from tests.fake_embedder import FakeEmbedder, make_split, with_own_task

TASK = "pain"
SIZES = {"train": 60, "validation": 24, "test": 60}
WORDS = {0: "The spine is quite well kept.", 1: "There is a painful bulging disc."}


def embedder_of(*, image: float, words: bool, **options) -> FakeEmbedder:
    """Splits whose image features, and whose reports, tell the label, or do not."""
    splits = {}
    for seed, (name, patients) in enumerate(SIZES.items()):
        split = with_own_task(make_split(patients, seed, signal=0))
        label = split.own_labels[:, 0]
        features = split.image_features.copy()
        features[:, 1] += image * (label == 1)
        said = np.where(label == 1, WORDS[1], WORDS[0]) if words else np.full(len(split), WORDS[0])
        numbers = np.arange(len(split)) // 3
        report = [
            f"{text} Patient {n} lies {n} mm low." for text, n in zip(said, numbers, strict=True)
        ]
        splits[name] = dataclasses.replace(split, image_features=features, report=np.array(report))
    return FakeEmbedder(**splits, **options)


class Columns:
    """What `without_images` asks of a data set."""

    def __init__(self, embedder: FakeEmbedder):
        self.columns = embedder.columns


def auroc(predicted) -> float:
    metrics = predicted.by_patient().metrics
    return float(metrics(np.ones((1, len(predicted.by_patient().labels))))["auroc"][0])


def of_all(embedder) -> dict:
    splits = {name: embedder(None, name) for name in SIZES}
    return (
        answers.without_images(Columns(embedder), TASK, "test")
        | answers.of_embeddings(splits, TASK, "test")
        | answers.zero_shot(embedder, None, TASK, "test", seed=0)
    )


@pytest.fixture(scope="module")
def told():
    """Images and words that both tell."""
    return of_all(embedder_of(image=4.0, words=True))


def test_a_planted_signal_is_found_where_it_is(told):
    assert list(told) == [way for way in page.WAYS if way != answers.FINE_TUNED]
    assert auroc(told[answers.ALWAYS]) == 0.5
    assert len(np.unique(told[answers.ALWAYS].probabilities, axis=0)) == 1
    assert auroc(told[answers.BAYES]) > 0.95
    assert auroc(told[answers.WORDS]) > 0.95
    assert auroc(told[answers.IMAGE]) > 0.95
    assert auroc(told[answers.BOTH]) > 0.9
    assert auroc(told[answers.REPORT]) < 0.8  # of features of no meaning
    for predicted in told.values():
        assert predicted.classes == ("no pain", "pain")
        assert len(predicted.labels) == 3 * 52  # every seventh patient has no label
        np.testing.assert_allclose(predicted.probabilities.sum(axis=1), 1, rtol=1e-6)


def test_without_a_signal_there_is_none():
    found = of_all(embedder_of(image=0.0, words=False))
    assert all(0.25 < auroc(found[way]) < 0.75 for way in found)


def test_always_is_the_class_of_most_training_images():
    splits = {name: embedder_of(image=0.0, words=False)(None, name) for name in SIZES}
    always = answers.without_images(Columns(FakeEmbedder(**splits)), TASK, "test")[answers.ALWAYS]
    label = splits["train"].own_labels[:, 0]
    share = (label == 1).sum() / (label >= 0).sum()
    np.testing.assert_allclose(always.probabilities[0], [1 - share, share])


def test_a_planted_leak_changes_nothing_about_other_patients(told):
    """Labels, reports and features of the second half of the measured split are others."""
    embedder = embedder_of(image=4.0, words=True)
    test = embedder(None, "test")
    rows = np.arange(len(test)) >= 90
    own = test.own_labels[:, 0]
    changed = dataclasses.replace(
        test,
        own_labels=np.where(rows & (own >= 0), 1 - own, own)[:, None],
        report=np.where(rows, "Quux says hardly anything at all.", test.report),
        image_features=np.where(rows[:, None], 50 * test.image_features + 3, test.image_features),
        text_features=np.where(rows[:, None], 50 * test.text_features + 3, test.text_features),
    )
    leaky = of_all(
        FakeEmbedder(**{n: embedder(None, n) for n in ("train", "validation")}, test=changed)
    )
    for way, predicted in told.items():
        kept = np.isin(predicted.image_id, test.image_id[~rows])
        assert kept.sum() == 78
        np.testing.assert_array_equal(
            leaky[way].probabilities[kept], predicted.probabilities[kept], err_msg=way
        )
        assert not np.array_equal(leaky[way].labels, predicted.labels)


def test_prompts_are_sentences_of_training_reports_alone():
    embedder = embedder_of(image=0.0, words=True)
    asked = []

    class Asked(FakeEmbedder):
        def encode_text(self, state, texts, output="text_embeds"):
            asked.extend(texts)
            return super().encode_text(state, texts, output)

    splits = {name: embedder(None, name) for name in SIZES}
    for name in ("validation", "test"):
        reports = np.char.add(splits[name].report, f" This is one of the {name} split.")
        splits[name] = dataclasses.replace(splits[name], report=reports)
    answers.zero_shot(Asked(level_prefix=True, **splits), None, TASK, "test", seed=0)
    assert len(asked) == 2 * answers.PROMPTS * 3  # of every level
    assert all(text.startswith(("L3-L4 : ", "L4-L5 : ", "L5-S1 : ")) for text in asked)
    known = " ".join(splits["train"].report)
    assert all(text.split(" : ", 1)[1] in known for text in asked)


def test_prompts_of_a_class_are_distinct_sentences_of_its_patients():
    embedder = embedder_of(image=0.0, words=True)
    (train,) = answers.labelled({"train": embedder(None, "train")}, TASK).values()
    drawn = answers.draw_prompts(train, seed=1)
    assert drawn == answers.draw_prompts(train, seed=1)
    assert drawn != answers.draw_prompts(train, seed=2)
    reports = train.columns.report[train.rows]
    for label, prompts in enumerate(drawn):
        assert len(set(prompts)) == len(prompts) == answers.PROMPTS
        of_class = " ".join(reports[train.labels == label])
        assert all(prompt in of_class for prompt in prompts)
    short = dataclasses.replace(train.columns, report=np.full(len(train.columns), "Too short."))
    (train,) = answers.labelled({"train": short}, TASK).values()
    with pytest.raises(ValueError, match="no training report of 'no pain' has a sentence of 5"):
        answers.draw_prompts(train, seed=1)


def test_zero_shot_takes_features_where_both_towers_have_as_many():
    embedder = embedder_of(image=0.0, words=True)
    splits = {name: embedder(None, name) for name in SIZES}
    of_embeds = answers.zero_shot(FakeEmbedder(**splits), None, TASK, "test", seed=0)
    wide = np.random.default_rng(0).normal(size=splits["test"].text_features.shape)
    splits["test"] = dataclasses.replace(splits["test"], image_features=wide)
    embedder = FakeEmbedder(**splits)
    embedder.has_shared_features = True
    of_features = answers.zero_shot(embedder, None, TASK, "test", seed=0)
    for way, predicted in of_features.items():
        assert not np.allclose(predicted.probabilities, of_embeds[way].probabilities)
    nearest, mean = of_features.values()
    assert not np.array_equal(nearest.probabilities, mean.probabilities)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"unit": "image"}, "pain asks of images with 2 classes: choose a task of two"),
        ({"classes": ["a", "b", "c"]}, "pain asks of patients with 3 classes: choose a task of"),
    ],
)
def test_a_task_of_something_else_is_refused(change, sentence):
    own = {"name": TASK, "classes": ["a", "b"], "unit": "patient", "ordered": False} | change
    split = dataclasses.replace(
        with_own_task(make_split(9, seed=0)), tasks=tasks_of({"tasks": [own]})
    )
    with pytest.raises(ValueError, match=sentence):
        answers.labelled({"train": split}, TASK)


def test_a_split_of_one_class_is_refused():
    split = with_own_task(make_split(9, seed=0))
    one = dataclasses.replace(split, own_labels=np.ones((len(split), 1), np.int8))
    with pytest.raises(ValueError, match="the test split has not two classes of pain"):
        answers.labelled({"train": split, "test": one}, TASK)
