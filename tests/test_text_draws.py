"""The texts of a pair: which text of a record each is, what is done to it, whose labels it has."""

import collections
import dataclasses

import numpy as np
import pytest

from configs import base
from lumbarclip_jax.data import fields
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.perturbations import Perturbation
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.sentences import sample_sentences
from lumbarclip_jax.data.synonyms import Synonyms
from lumbarclip_jax.data.tasks import tasks_of
from lumbarclip_jax.data.text_draws import Drawn, TextDraws
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.training import config_check

REPORT = "One two three. Four five six. Seven eight nine. Ten eleven twelve."
OTHERS = ("Other words.", "More other words.")
TEXTS = (REPORT, *OTHERS)
SWAP = {"perturbation": Perturbation(swap=1.0, protect=False), "synonyms": Synonyms()}
TWO = TextDraws(views=2, keep_sentence=0.5)


@pytest.fixture(scope="module")
def dataset(labelled_dataset):
    return Dataset(labelled_dataset)


@pytest.fixture(scope="module")
def tokenizer(dataset):
    return Tokenizer(dataset.folder / "vocab.txt", max_tokens=24)


def batches(dataset, tokenizer, **options):
    defaults = {
        "global_batch_size": 8,
        "seed": 3,
        "one_level_a_batch": False,
        "text_draws": TWO,
        "read_threads": 0,
        "prefetch_batches": 0,
    }
    return train_iterator(dataset, tokenizer, **(defaults | options))


def take(iterator, count: int) -> list[dict[str, np.ndarray]]:
    return [next(iterator) for _ in range(count)]


def assert_equal(found, expected):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            np.testing.assert_array_equal(ours[name], values, err_msg=name)


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("further_texts", [False, True])
def test_one_view_of_a_lone_report_is_the_excerpt_of_earlier_runs(keep, further_texts):
    draws = TextDraws(keep_sentence=keep, further_texts=further_texts)
    for seed in (0, 1, 2**63 - 1):
        assert draws((REPORT,), seed) == [Drawn(sample_sentences(REPORT, keep, seed), 0)]
    one = TextDraws(keep_sentence=keep, further_texts=False)
    assert [one(TEXTS, seed) for seed in range(9)] == [draws(TEXTS[:1], seed) for seed in range(9)]


def test_the_first_of_several_is_the_only_one_of_one():
    one = dataclasses.replace(TWO, views=1)
    seeds = range(50)
    assert [TWO(TEXTS, seed)[:1] for seed in seeds] == [one(TEXTS, seed) for seed in seeds]
    pairs = [TWO((REPORT,), seed) for seed in seeds]
    assert sum(first == second for first, second in pairs) < 10  # of sixteen subsets


def test_all_texts_are_drawn_about_equally_often_by_every_view():
    places = np.array([[text.place for text in TWO(TEXTS, seed)] for seed in range(1800)])
    pairs = collections.Counter(map(tuple, places.tolist()))
    assert len(pairs) == 9  # and independently of each other
    assert all(150 < count < 250 for count in pairs.values())
    for text, place in TWO(OTHERS, seed=1):
        assert text == OTHERS[place]
    alone = dataclasses.replace(TWO, further_texts=False)
    assert {text.place for seed in range(50) for text in alone(TEXTS, seed)} == {0}


def test_a_second_text_may_differ_by_its_perturbation_alone():
    draws = TextDraws(views=3, keep_sentence=0.5, redraw=False, **SWAP)
    differing = 0
    for seed in range(30):
        first, *others = draws(TEXTS, seed)
        assert first.text == dataclasses.replace(draws, synonyms=None)(TEXTS, seed)[0].text
        assert {text.place for text in others} == {first.place}
        words = [sorted(text.replace(".", "").split()) for text, _ in (first, *others)]
        assert words[0] == words[1] == words[2]
        # Words that change places may come back to them.
        differing += len({text for text, _ in (first, *others)}) == 3
    assert differing > 10
    plain = dataclasses.replace(draws, perturbation=Perturbation(), synonyms=None)
    assert all(len(set(plain(TEXTS, seed))) == 1 for seed in range(9))


@pytest.mark.parametrize(
    ("views", "first", "expected"),
    [(1, False, [True]), (2, False, [False, True]), (2, True, [True, True])],
)
def test_which_views_are_perturbed(views, first, expected):
    draws = TextDraws(views=views, perturb_first=first, **SWAP)
    assert [text != REPORT for text, _ in draws((REPORT,), seed=4)] == expected


def test_the_config_names_them():
    data = base.get_config().data
    assert TextDraws.of(data) == TextDraws(keep_sentence=0.7)
    data.update(text_views=2, further_texts=False, redraw_text=False, keep_sentence=1.0)
    data.perturb.update(delete=0.25, one_of=True, protect=False, first=True)
    draws = TextDraws.of(data)
    assert draws.synonyms is not None
    how = Perturbation(delete=0.25, one_of=True, protect=False)
    expected = TextDraws(2, 1.0, False, False, how, True, draws.synonyms)
    assert draws == expected


def own_text(tokens: np.ndarray, tokenizer: Tokenizer) -> str:
    words = [tokenizer.tokens[token] for token in tokens]
    return " ".join(word for word in words if not word.startswith("[")).replace(" ##", "")


FIELDS = (
    *("images", "input_ids", "attention_mask", "classes/pain", "signs/pain", "label/pain"),
    *("text/classes/pain", "text/signs/pain", "text/classes/worst", "text/classes/pfirrmann"),
    *("classes/pfirrmann", "classes/worst"),
)


def test_texts_have_labels_of_their_own_and_else_those_of_their_image(dataset, tokenizer):
    """See `data_prep_cohort.write_own_labels`: first text the other pain, second grade 1."""
    seen = collections.Counter()
    options = {"fields": FIELDS, "text_draws": TextDraws(views=2), "level_prefix": False}
    for batch in take(batches(dataset, tokenizer, **options), 12):
        assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, 2, 24)
        assert batch["text/signs/pain"].shape == (8, 2, 1)
        assert batch["text/classes/worst"].shape == (8, 2, 3)
        assert {batch[name].dtype for name in FIELDS if "text/" in name} == {np.dtype("float32")}
        for view in range(2):
            texts = [own_text(row, tokenizer) for row in batch["input_ids"][:, view]]
            place = np.array([1 * ("other" in text) + 2 * ("impression" in text) for text in texts])
            seen.update(place.tolist())
            label = batch["label/pain"]
            signs = np.where(label < 0, 0, 2 * label - 1)
            np.testing.assert_array_equal(batch["signs/pain"][:, 0], signs)
            # Patients without a label of pain have one text with, the number's other parity.
            known = label >= 0
            of_first = np.where(place == 1, -signs, signs)
            of_texts = batch["text/signs/pain"][:, view, 0]
            np.testing.assert_array_equal(of_texts[known], of_first[known])
            unknown = ~known & (place == 1)
            assert (of_texts[unknown] != 0).all()
            assert (of_texts[~known & (place != 1)] == 0).all()
            seen["own label where the image has none"] += unknown.sum()
            one_hot = np.stack([of_texts < 0, of_texts > 0], axis=1)
            np.testing.assert_array_equal(batch["text/classes/pain"][:, view], one_hot)
            lowest = np.where((place == 2)[:, None], np.eye(3)[0], batch["classes/worst"])
            np.testing.assert_array_equal(batch["text/classes/worst"][:, view], lowest)
            # A task that every data set has is labelled by the report alone.
            np.testing.assert_array_equal(
                batch["text/classes/pfirrmann"][:, view], batch["classes/pfirrmann"]
            )
    assert all(seen[place] > 25 for place in (0, 1, 2))
    assert seen["own label where the image has none"] > 2


@pytest.mark.parametrize(("code", "sign"), [(-2, 1.0), (-1, 1.0), (0, -1.0), (1, 1.0)])
def test_codes_without_a_class_leave_the_label_of_the_image(code, sign):
    own = {"name": "pain", "classes": ["no", "yes"], "unit": "image", "ordered": False}
    tasks = tasks_of({"tasks": [own | {"name": "first"}, own]})
    record = {"text_labels": np.array([[0, 1 - code], [0, code]], np.int8)}
    drawn = [Drawn("a", 2), Drawn("b", 0)]
    found = fields.of_drawn("text/signs/pain", np.ones((1, 1), "f4"), [record], [drawn], tasks)
    assert found.tolist() == [[[sign], [1.0]]]
    unread = fields.of_drawn("text/signs/pain", np.ones((1, 1), "f4"), [{}], [drawn], tasks)
    assert unread.tolist() == [[[1.0], [1.0]]]


def test_signs_are_of_two_classes(dataset, tokenizer):
    with pytest.raises(ValueError, match="'signs/worst', and signs are of two classes, not 3"):
        batches(dataset, tokenizer, fields=("text/signs/worst",))
    with pytest.raises(ValueError, match=r"reads 'classes/x'.* tasks pfirrmann_ge_3,.*pain, worst"):
        batches(dataset, tokenizer, fields=("text/classes/x",))


PERTURBED = TextDraws(views=2, keep_sentence=0.5, **SWAP)


@pytest.mark.parametrize("buckets", [(), (12, 18)])
def test_batches_are_the_same_for_two_processes_and_from_any_position(dataset, tokenizer, buckets):
    options = {"fields": FIELDS, "text_draws": PERTURBED, "token_buckets": buckets}
    iterator = batches(dataset, tokenizer, **options)
    expected = take(iterator, 2)
    position = iterator.get_state()
    expected += take(iterator, 3)
    shares = [
        take(batches(dataset, tokenizer, process_index=index, process_count=2, **options), 5)
        for index in range(2)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for parts in zip(*shares, strict=True)
    ]
    assert_equal(joined, expected)
    again = batches(dataset, tokenizer, **options)
    again.set_state(position)
    assert_equal(take(again, 3), expected[2:])


def test_a_process_that_reads_makes_the_same_batches(dataset, tokenizer):
    options = {"fields": FIELDS, "text_draws": PERTURBED}
    expected = take(batches(dataset, tokenizer, **options), 2)
    reader = batches(
        dataset, tokenizer, **options, read_threads=1, read_processes=1, prefetch_batches=1
    )
    try:
        assert_equal(take(reader, 2), expected)
    finally:
        reader.close()


def test_only_reports_are_read_where_no_further_text_is_drawn(dataset, tokenizer, monkeypatch):
    asked = []
    read = Dataset.partial_source

    def partial_source(self, split, names):
        asked.append(tuple(names))
        return read(self, split, names)

    monkeypatch.setattr(Dataset, "partial_source", partial_source)
    batches(dataset, tokenizer)
    batches(dataset, tokenizer, text_draws=TextDraws(further_texts=False))
    batches(dataset, None, fields=("images", "label/pain"))
    assert asked == [
        ("image", "report", "level", "texts", "text_labels"),
        ("image", "report", "level"),
        ("image",),
    ]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"text_views": 0}, r"data\.text_views=0 must be at least 1"),
        ({"perturb.table": "no/where.toml", "perturb.swap": 0.1}, "no table of synonyms no/where"),
        ({"perturb.delete": 1.1}, r"data\.perturb: delete=1\.1 is no probability: give 0 to 1"),
        (
            {"text_views": 2, "redraw_text": False},
            r"data\.text_views=2 with data\.redraw_text=False are one text 2 times: .*=True",
        ),
        (
            {"text_views": 3, "keep_sentence": 1.0, "further_texts": False},
            r"data\.text_views=3 with data\.keep_sentence=1\.0 and the report .* one text 3 times",
        ),
    ],
)
def test_a_config_that_cannot_be_is_refused_in_a_sentence(changes, sentence):
    config = base.get_config()
    config.update_from_flattened_dict({f"data.{name}": value for name, value in changes.items()})
    with pytest.raises(ValueError, match=sentence) as error:
        config_check.validated(config)
    assert "\n" not in str(error.value)
    possible = base.get_config()
    possible.data.update(text_views=2, redraw_text=False)
    possible.data.perturb.delete = 0.2
    config_check.validated(possible)


def test_two_equal_texts_are_refused_once_the_data_set_is_known(dataset, tokenizer, tiny_dataset):
    config = base.get_config()
    config.data.update(text_views=2, keep_sentence=1.0)
    config_check.validated(config)  # there may be further texts
    options = pipeline_options(config) | {"global_batch_size": 8, "one_level_a_batch": False}
    options |= {"read_threads": 0, "prefetch_batches": 0}
    assert take(train_iterator(dataset, tokenizer, **options), 1)
    with pytest.raises(ValueError, match=r"text_views=2 .* one text 2 times"):
        train_iterator(Dataset(tiny_dataset), tokenizer, **options)
