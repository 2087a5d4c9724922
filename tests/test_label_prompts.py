"""Labels in words: what is said of a label, and which texts of a pair are such words."""

import dataclasses
import re

import numpy as np
import pytest

from configs import base
from data_prep.records.tasks import UNCERTAIN_LABEL
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.label_prompts import LabelPrompts, Wordings
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED, Task
from lumbarclip_jax.data.text_draws import TextDraws
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.training import config_check

LEVEL = "L4-L5"
GRADES = ("pfirrmann", "pfirrmann_ge_3", "patient_displacement")
DENIALS = re.compile(r"\b(no|not)\b", re.IGNORECASE)


def own(*classes: str, unit="image") -> Task:
    return Task("modic", classes, lambda columns: np.zeros(1, int), unit=unit)


@pytest.mark.parametrize("name", [name for name in TASKS if name not in GRADES])
def test_a_presence_is_denied_where_it_is_absent_and_only_there(name):
    wordings = Wordings()
    said = {label: wordings.sentences(TASKS[name], label, LEVEL) for label in (0, 1)}
    assert all(DENIALS.search(text) for text in said[0])
    assert not any(DENIALS.search(text) for text in said[1])
    assert not set(said[0]) & set(said[1])
    hedged = wordings.sentences(TASKS[name], UNCERTAIN_LABEL, LEVEL)
    assert hedged
    assert not set(hedged) & {*said[0], *said[1]}
    assert wordings.sentences(TASKS[name], UNLABELLED, LEVEL) == []


@pytest.mark.parametrize("name", GRADES)
def test_every_class_of_a_grade_has_wordings_of_its_own(name):
    wordings, task = Wordings(), TASKS[name]
    each = [wordings.sentences(task, label, LEVEL) for label in range(len(task.classes))]
    assert all(len(texts) >= 4 for texts in each)
    assert len({text for texts in each for text in texts}) == sum(map(len, each))


def test_a_sentence_names_the_disc_only_where_one_is_shown():
    wordings, of_image, of_patient = Wordings(), TASKS["disc_bulge"], TASKS["muscle_spasm"]
    assert any(LEVEL in text for text in wordings.sentences(of_image, 1, LEVEL))
    for task, level in [(of_image, "all"), (of_patient, LEVEL)]:
        texts = wordings.sentences(task, 1, level)
        assert texts
        assert not any(level in text for text in texts)


@pytest.mark.parametrize(
    ("task", "label", "expected"),
    [
        (own("no modic change", "modic change"), 0, "No evidence of modic change."),
        (own("no modic change", "modic change"), 1, "There is modic change."),
        (own("none", "type 1", "type 2"), 1, "L4-L5: type 1."),
        (own("none", "type 1", unit="patient"), 0, "None."),
        (own("not narrowed", "narrowed"), 1, "Findings of modic."),
    ],
)
def test_tasks_of_a_data_set_of_its_own_are_said_by_their_classes(task, label, expected):
    assert expected in Wordings().sentences(task, label, LEVEL)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[presence]\npositive = ['There.']", r"\[presence\] must have negative"),
        ("[class]\nany = ['A {class} at {level}.']", "one of them without {level}"),
        ("[absence]\nany = ['x']", r"has a table \[absence\], where there are \[presence\]"),
        ("presence", "is no TOML"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, text, sentence):
    (tmp_path / "own.toml").write_text(text)
    with pytest.raises(ValueError, match=sentence):
        Wordings(tmp_path / "own.toml")


def test_a_file_of_ones_own_takes_the_place_of_its_tables(tmp_path):
    (tmp_path / "own.toml").write_text("[class]\nany = ['Befund: {class}.']")
    wordings = Wordings(tmp_path / "own.toml")
    assert wordings.sentences(own("none", "type 1"), 1, LEVEL) == ["Befund: type 1."]
    assert "No disc bulge." in wordings.sentences(TASKS["disc_bulge"], 0, LEVEL)


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def prompts(dataset):
    tasks = [TASKS[name] for name in ("pfirrmann_ge_3", "disc_bulge", "muscle_spasm")]
    return LabelPrompts(dataset.columns("train"), tasks, Wordings())


def test_a_text_says_every_label_of_its_row_once_in_any_order(dataset, prompts):
    columns, wordings = dataset.columns("train"), Wordings()
    for row in range(6):
        of_row = columns.take(np.array([row]))
        known = [
            wordings.sentences(task, int(task.labels(of_row)[0]), str(columns.level[row]))
            for task in prompts._tasks
        ]
        for seed in range(20):
            text = prompts(row, np.random.default_rng(seed))
            parts = re.findall(r"[^.]+\.", text)
            assert len(parts) == sum(map(bool, known)) >= 2
            for sentences in filter(None, known):
                assert sum(part.strip() in sentences for part in parts) == 1
    texts = {prompts(0, np.random.default_rng(seed)) for seed in range(50)}
    assert len(texts) > 30
    assert prompts(0, np.random.default_rng(7)) == prompts(0, np.random.default_rng(7))


def test_rows_of_which_the_same_is_said_are_of_one_group(dataset, prompts):
    columns, groups = dataset.columns("train"), prompts.groups()
    labels = np.stack([task.labels(columns) for task in prompts._tasks], axis=1)
    for row, group in enumerate(groups):
        same = (labels == labels[row]).all(axis=1) & (columns.level == columns.level[row])
        assert ((groups == group) == same).all()


DRAWS = TextDraws(
    views=2, prompt_tasks=("pfirrmann_ge_3", "disc_bulge"), prompt_share=1.0, wordings=Wordings()
)


def batch_of(dataset, draws, **options):
    tokenizer = Tokenizer(dataset.folder / "vocab.txt", max_tokens=40)
    fields = ("images", "input_ids", "attention_mask", "report_group")
    how = {"global_batch_size": 8, "seed": 3, "read_threads": 0, "prefetch_batches": 0}
    return next(
        train_iterator(dataset, tokenizer, fields=fields, text_draws=draws, **how, **options)
    )


def test_prompts_take_the_place_of_written_reports_as_often_as_asked(dataset):
    def prompt(rng):
        return f"Label {rng.integers(10)}."

    report = ("One two three.",)
    for share in (0.0, 0.3, 1.0):
        draws = dataclasses.replace(DRAWS, views=1, prompt_share=share)
        texts = [draws(report, seed, prompt)[0].text for seed in range(500)]
        assert np.mean([text.startswith("Label") for text in texts]) == pytest.approx(
            share, abs=0.07
        )
        made = [draws(report, seed, prompt, is_written=False) for seed in range(20)]
        assert all(text.startswith("Label") for ((text, _),) in made)
    both = [DRAWS(report, seed, prompt) for seed in range(50)]
    assert len({first.text == second.text for first, second in both}) == 2
    assert DRAWS(report, 0, lambda rng: "")[0].text == report[0]


def test_a_batch_has_the_words_of_labels(dataset, monkeypatch):
    one = dataclasses.replace(DRAWS, views=1)
    reports = batch_of(dataset, dataclasses.replace(one, wordings=None, prompt_tasks=()))
    monkeypatch.setattr(LabelPrompts, "__call__", lambda self, row, rng: "Disc bulge.")
    prompts = batch_of(dataset, one, level_prefix=False)
    np.testing.assert_array_equal(prompts["images"], reports["images"])
    np.testing.assert_array_equal(prompts["report_group"], reports["report_group"])
    words = Tokenizer(dataset.folder / "vocab.txt", max_tokens=40)(["Disc bulge."])
    for name, ids in words.items():
        np.testing.assert_array_equal(prompts[name][:, 0], np.repeat(ids, 8, axis=0))


def test_pairs_without_a_written_report_are_grouped_by_what_is_said(dataset, monkeypatch):
    source = Dataset.partial_source

    class Templated:
        def __init__(self, count):
            self.count = count

        def __len__(self):
            return self.count

        def __getitems__(self, rows):
            return [{"report_source": "templated"} for _ in rows]

    def partial_source(self, split, names):
        found = source(self, split, names)
        return Templated(len(found)) if names == ("report_source",) else found

    monkeypatch.setattr(Dataset, "partial_source", partial_source)
    columns = dataset.columns("train")
    groups = batch_of(dataset, dataclasses.replace(DRAWS, prompt_share=0.0))["report_group"]
    asked = [TASKS[name] for name in DRAWS.prompt_tasks]
    expected = LabelPrompts(columns, asked, Wordings()).groups()
    assert set(groups.tolist()) <= set(range(len(np.unique(expected))))
    assert len(np.unique(expected)) < len(columns.level)


@pytest.mark.parametrize(
    ("draws", "sentence"),
    [
        ({"prompt_share": 0.0}, "where all reports are written set data.prompts.share"),
        ({"prompt_tasks": ("bulge",)}, "there is no task bulge"),
    ],
)
def test_prompts_that_say_nothing_are_refused(dataset, draws, sentence):
    with pytest.raises(ValueError, match=sentence):
        batch_of(dataset, dataclasses.replace(DRAWS, **draws))


def test_the_config_says_what_is_put_into_words(tmp_path):
    config = base.get_config()
    assert pipeline_options(config)["text_draws"].wordings is None
    config.data.prompts.update(tasks=("disc_bulge",), share=0.5)
    draws = pipeline_options(config)["text_draws"]
    assert (draws.prompt_tasks, draws.prompt_share) == (("disc_bulge",), 0.5)
    config.data.token_buckets = (32,)
    with pytest.raises(ValueError, match="draws texts of any length"):
        config_check.validated(config)
    config.data.update(token_buckets=())
    config.data.prompts.table = str(tmp_path / "none.toml")
    with pytest.raises(ValueError, match=r"data\.prompts\.table: .*none\.toml"):
        config_check.validated(config)
