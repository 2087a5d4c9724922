"""Reading a data set folder: text, tokens and deterministic, resumable, shareable batches."""

import dataclasses
import json

import numpy as np
import pytest

from data_prep.records.schema import LEVELS
from lumbarclip_jax.data.dataset import Dataset, with_level
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.data.sentences import sample_sentences, sentences
from lumbarclip_jax.data.text_draws import TextDraws
from lumbarclip_jax.data.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def tokenizer(dataset):
    return Tokenizer(dataset.folder / "vocab.txt", max_tokens=12)


def batches(dataset, tokenizer, **options):
    defaults = {
        "global_batch_size": 8,
        "seed": 3,
        "level_prefix": True,
        "one_level_a_batch": False,
        "text_draws": TextDraws(keep_sentence=0.5),
        "read_threads": 2,
        "prefetch_batches": 2,
    }
    return train_iterator(dataset, tokenizer, **(defaults | options))


def test_tokens_of_a_known_vocabulary(tmp_path):
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "disc", "bul", "##ge", "l4", "-"]
    (tmp_path / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    tokens = Tokenizer(tmp_path / "vocab.txt", max_tokens=6)(["Disc BULGE", "disc " * 9, "xyz"])
    assert tokens["input_ids"].tolist() == [
        [2, 5, 6, 7, 3, 0],
        [2, 5, 5, 5, 5, 3],
        [2, 1, 3, 0, 0, 0],
    ]
    assert tokens["attention_mask"].sum(axis=1).tolist() == [5, 6, 3]


def test_a_vocabulary_must_be_one(tmp_path):
    with pytest.raises(FileNotFoundError, match="no vocabulary"):
        Tokenizer(tmp_path / "vocab.txt", max_tokens=6)
    (tmp_path / "vocab.txt").write_text("disc\n[PAD]\n")
    with pytest.raises(ValueError, match=r"lacks \[UNK\] \[CLS\] \[SEP\]"):
        Tokenizer(tmp_path / "vocab.txt", max_tokens=6)


def test_level_prefix():
    assert with_level("Normal.", "L5-S1", True) == "L5-S1 : Normal."
    assert with_level("Normal.", "L5-S1", False) == "Normal."


def test_excerpts_keep_order_and_at_least_one_sentence():
    report = "LSS MRI\nL4-L5: bulge. No stenosis. // L5-S1: normal."
    parts = ["LSS MRI", "L4-L5: bulge.", "No stenosis.", "L5-S1: normal."]
    assert sentences(report) == parts
    assert sample_sentences(report, 1.0, seed=0) == report
    drawn = [sample_sentences(report, 0.5, seed) for seed in range(400)]
    kept = np.array([[part in excerpt for part in parts] for excerpt in drawn])
    assert kept.any(axis=1).all()
    assert (abs(kept.mean(axis=0) - 0.5) < 0.1).all()
    assert all(excerpt in " ".join(parts) for excerpt in drawn if excerpt.count(".") == 3)
    assert sample_sentences(report, 0.0, seed=1) in parts
    assert sample_sentences("Normal.", 0.0, seed=1) == "Normal."


@pytest.mark.parametrize("keep", [0.0, 0.5, 1.0])
def test_one_text_of_a_pair_is_an_excerpt_of_its_report(dataset, tokenizer, keep):
    columns = dataset.columns("train")
    pixels = dataset.images("train", range(len(columns.level)))
    row_of = {image.tobytes(): row for row, image in enumerate(pixels)}
    drawn_with = []

    class Recorded(TextDraws):
        def __call__(self, texts, seed, *prompt, **options):
            drawn_with.append(seed)
            return super().__call__(texts, seed, *prompt, **options)

    options = {"text_draws": Recorded(keep_sentence=keep), "read_threads": 0, "prefetch_batches": 0}
    iterator = batches(dataset, tokenizer, **options)
    for start in (0, 8, 16):
        batch = next(iterator)
        seeds = drawn_with[start : start + 8]
        assert len(set(seeds)) == 8
        texts = []
        for image, seed in zip(batch["images"], seeds, strict=True):
            row = row_of[image.tobytes()]
            excerpt = sample_sentences(columns.report[row], keep, seed)
            texts.append(with_level(excerpt, columns.level[row], True))
        for name, values in tokenizer(texts).items():
            np.testing.assert_array_equal(batch[name], values[:, None])
            assert batch[name].dtype == np.int32


def test_a_batch_shows_one_level(dataset, tokenizer):
    columns, iterator = (
        dataset.columns("train"),
        batches(dataset, tokenizer, one_level_a_batch=True),
    )
    pixels = dataset.images("train", range(len(columns.level)))
    level_of = {row.tobytes(): level for row, level in zip(pixels, columns.level, strict=True)}
    levels = [{level_of[row.tobytes()] for row in next(iterator)["images"]} for _ in range(9)]
    assert all(len(found) == 1 for found in levels)
    assert len(set.union(*levels)) == 3


def test_equal_reports_have_one_number_in_every_process(dataset, tokenizer):
    columns = dataset.columns("train")
    pixels = dataset.images("train", range(len(columns.level)))
    group_of = {row.tobytes(): name for row, name in zip(pixels, columns.report_group, strict=True)}
    fields = ("images", "report_group")
    whole = batches(dataset, tokenizer, fields=fields)
    halves = [
        batches(dataset, tokenizer, fields=fields, process_index=index, process_count=2)
        for index in range(2)
    ]
    for _ in range(4):
        batch, *parts = (next(iterator) for iterator in (whole, *halves))
        assert batch["report_group"].dtype == np.int32
        names = [group_of[image.tobytes()] for image in batch["images"]]
        assert len(set(zip(batch["report_group"].tolist(), names, strict=True))) == len(set(names))
        both = np.concatenate([part["report_group"] for part in parts])
        np.testing.assert_array_equal(both, batch["report_group"])
        assert set(batch) == set(fields)


def test_labels_and_levels_are_those_of_the_rows(dataset):
    columns = dataset.columns("train")
    fields = ("images", "level", "label/pfirrmann_ge_3")
    rows = np.flatnonzero(columns.pfirrmann > 0)[::2]
    iterator = batches(dataset, None, fields=fields, rows=rows)
    pixels = dataset.images("train", range(len(columns.level)))
    row_of = {image.tobytes(): row for row, image in enumerate(pixels)}
    seen = []
    for _ in range(3):
        batch = next(iterator)
        assert set(batch) == set(fields)
        places = [row_of[image.tobytes()] for image in batch["images"]]
        seen += places
        np.testing.assert_array_equal(batch["label/pfirrmann_ge_3"], columns.pfirrmann[places] >= 3)
        levels = [LEVELS[column] for column in batch["level"].argmax(axis=1)]
        assert levels == columns.level[places].tolist()
    assert set(seen) <= set(rows.tolist())


@pytest.mark.parametrize("field", ["label/no_such_task", "lable/pfirrmann", "depth"])
def test_a_field_that_no_data_set_has_is_named(dataset, field):
    with pytest.raises(
        ValueError, match=f"the objective reads '{field}', which this data set does not have"
    ):
        batches(dataset, None, fields=("images", field))


def test_a_task_that_nobody_labelled_is_refused_before_training(dataset, monkeypatch):
    columns = dataset.columns("train")
    unread = dataclasses.replace(columns, pfirrmann=np.zeros_like(columns.pfirrmann))
    monkeypatch.setitem(dataset._columns, "train", unread)
    with pytest.raises(ValueError, match="no image that is trained on has a label of pfirrmann:"):
        batches(dataset, None, fields=("images", "label/pfirrmann"))


def test_columns_follow_the_records(dataset):
    columns = dataset.columns("test")
    record = dataset.source("test")[2]
    assert columns.report[2] == record["report"].decode()
    assert columns.level[2] == record["level"].decode()
    assert columns.pfirrmann[2] == record["grades"]["pfirrmann"]
    assert len(columns.names) == columns.findings.shape[1] == 17
    np.testing.assert_array_equal(dataset.images("test", [2])[0], record["image"])


def test_an_epoch_visits_every_row_once_and_epochs_differ(dataset, tokenizer):
    size = len(dataset.source("train"))
    iterator = batches(dataset, tokenizer, global_batch_size=size)
    epochs = [next(iterator)["images"].reshape(size, -1) for _ in range(2)]
    rows = [[row.tobytes() for row in epoch] for epoch in epochs]
    assert len(set(rows[0])) == size
    assert set(rows[0]) == set(rows[1])
    assert rows[0] != rows[1]


def test_position_restores_the_same_future(dataset, tokenizer):
    iterator = batches(dataset, tokenizer)
    for _ in range(7):
        next(iterator)
    position = json.loads(json.dumps(iterator.get_state()))
    expected = [next(iterator) for _ in range(3)]
    resumed = batches(dataset, tokenizer)
    resumed.set_state(position)
    for batch in expected:
        restored = next(resumed)
        for name, rows in batch.items():
            np.testing.assert_array_equal(rows, restored[name])


def test_processes_share_the_global_batch(dataset, tokenizer):
    whole = batches(dataset, tokenizer)
    parts = [batches(dataset, tokenizer, process_index=i, process_count=4) for i in range(4)]
    for _ in range(6):
        expected, shares = next(whole), [next(part) for part in parts]
        for name, rows in expected.items():
            np.testing.assert_array_equal(rows, np.concatenate([share[name] for share in shares]))


def test_levels_that_do_not_fill_a_batch_are_named(tiny_dataset, tokenizer, caplog):
    dataset = Dataset(tiny_dataset)
    level = dataset.columns("train").level
    level[np.flatnonzero(level == "L3-L4")[3:]] = "L4-L5"
    batches(dataset, tokenizer, one_level_a_batch=True)
    (told,) = [record.getMessage() for record in caplog.records]
    assert told.startswith(f"3 of the {len(level)} images of train are never trained on")
    assert "L3-L4 (3 images)" in told
    assert "L4-L5" not in told
    assert "data.one_level_a_batch=False" in told
    caplog.clear()
    batches(dataset, tokenizer, one_level_a_batch=False)
    assert not caplog.records
    with pytest.raises(ValueError, match=r"no level of the train split fills a batch of 40: L3-L4"):
        batches(dataset, tokenizer, one_level_a_batch=True, global_batch_size=40)


def test_errors_name_the_remedy(dataset, tokenizer, tmp_path):
    with pytest.raises(ValueError, match=r"a batch of 900 is larger than the \d+ images"):
        batches(dataset, tokenizer, global_batch_size=900)
    with pytest.raises(ValueError, match="does not divide over 3 processes"):
        batches(dataset, tokenizer, process_count=3)
    with pytest.raises(ValueError, match="no split 'tset', only train, validation, test"):
        dataset.source("tset")
    with pytest.raises(FileNotFoundError, match=r"data_prep\.build"):
        Dataset(tmp_path)
    (tmp_path / "manifest.json").write_text('{"schema_version": 99}')
    with pytest.raises(ValueError, match="schema version 99"):
        Dataset(tmp_path)
