"""Several data sets as one: their rows, splits and tasks, what is refused, how they are mixed."""

import json
import re
import shutil

import numpy as np
import pytest

from configs import base
from data_prep.records.tasks import NO_LABEL
from lumbarclip_jax.data import batch_order, manifest, mixture
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.mixture import Mixture
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.train import train_and_evaluate
from lumbarclip_jax.training import config_check
from tests.tiny_runs import tiny_config


@pytest.fixture(scope="module")
def folders(tiny_dataset, labelled_dataset, tmp_path_factory):
    other = tmp_path_factory.mktemp("mixture") / "labelled"
    shutil.copytree(labelled_dataset, other)
    return [tiny_dataset, other]


@pytest.fixture(scope="module")
def datasets(folders):
    return [Dataset(folder) for folder in folders]


@pytest.fixture(scope="module")
def mixed(datasets):
    return Mixture(datasets, (3.0, 1.0))


def test_rows_lie_end_to_end_in_the_order_of_the_data_sets(datasets, mixed):
    for split in ("train", "test"):
        each = [dataset.columns(split) for dataset in datasets]
        columns = mixed.columns(split)
        for name in ("image_id", "report", "findings", "level"):
            expected = np.concatenate([getattr(of, name) for of in each])
            np.testing.assert_array_equal(getattr(columns, name), expected)
        counts = [len(of.level) for of in each]
        rows = [0, counts[0] - 1, counts[0], sum(counts) - 1]
        images = [
            datasets[0].images(split, rows[:2]),
            datasets[1].images(split, [0, counts[1] - 1]),
        ]
        np.testing.assert_array_equal(mixed.images(split, rows), np.concatenate(images))
        records = mixed.source(split).__getitems__(rows)
        assert [of["image_id"].decode() for of in records] == columns.image_id[rows].tolist()
        assert mixed.manifest["splits"][split]["images"] == sum(counts)


def test_each_data_set_has_its_own_splits_beside_those_of_all(datasets, mixed):
    names = list(mixed.datasets)
    assert mixture.named_parts(mixed, "test") == [f"test@{name}" for name in names]
    assert mixture.named_parts(mixed, f"test@{names[0]}") == []
    assert mixture.named_parts(datasets[0], "test") == []
    for name, dataset in zip(names, datasets, strict=True):
        own = mixed.columns(f"test@{name}")
        np.testing.assert_array_equal(own.image_id, dataset.columns("test").image_id)
    with pytest.raises(ValueError, match="there is no split 'holdout' in"):
        mixed.source("holdout")


def test_a_row_has_no_label_of_the_task_of_another_data_set(datasets, mixed):
    own = [name for name in datasets[1].tasks if name not in TASKS]
    count, columns = len(datasets[0].columns("train").level), mixed.columns("train")
    assert own
    assert set(mixed.tasks) == set(TASKS) | set(own)
    assert (columns.own_labels[:count] == NO_LABEL).all()
    for name in own:
        labels = mixed.tasks[name].labels(columns)
        assert (labels[:count] == UNLABELLED).all()
        expected = datasets[1].tasks[name].labels(datasets[1].columns("train"))
        np.testing.assert_array_equal(labels[count:], expected)


def changed(folder, out, **entries):
    """A copy of a data set whose manifest says something else, and is sealed again."""
    shutil.copytree(folder, out)
    file = out / "manifest.json"
    whole = json.loads(file.read_text()) | entries
    whole["metadata"]["manifest.json"] = manifest.seal(whole)
    file.write_text(json.dumps(whole))
    return Dataset(out)


def test_a_patient_on_two_sides_is_named(tiny_dataset, tmp_path, datasets):
    class Swapped(Dataset):
        """The same data set, whose test split is what the other trains on."""

        def columns(self, split):
            return super().columns({"train": "test", "test": "train"}.get(split, split))

        def images(self, split, indices):
            return super().images({"train": "test", "test": "train"}.get(split, split), indices)

    shutil.copytree(tiny_dataset, tmp_path / "copy")
    swapped = Swapped(tmp_path / "copy")
    with pytest.raises(ValueError, match="on two sides of a split: ") as error:
        Mixture([datasets[0], swapped], (1.0, 1.0))
    patients = {*datasets[0].columns("train").patient_id, *datasets[0].columns("test").patient_id}
    named = re.findall(r"(patient|picture) (\w+) \((?:train|test) of \w+, ", str(error.value))
    assert len(named) == mixture.SHOWN
    assert any(what == "patient" and mark in patients for what, mark in named)
    assert "more. Build the data sets with one --split_file" in str(error.value)


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ({"image": {"size_px": 99}}, "holds images of .* px and .* of 99"),
        ({"findings": ["disc_bulge"]}, "list different findings"),
    ],
)
def test_data_sets_that_do_not_go_together_are_refused(
    tiny_dataset, tmp_path, datasets, entries, sentence
):
    other = changed(tiny_dataset, tmp_path / "other", **entries)
    with pytest.raises(ValueError, match=sentence):
        Mixture([datasets[0], other], (1.0, 1.0))


def test_tasks_of_one_name_and_different_classes_are_refused(folders, tmp_path, datasets):
    tasks = json.loads((folders[1] / "manifest.json").read_text())["tasks"]
    tasks[0] = tasks[0] | {"classes": ["some", "thing", "else"]}
    other = changed(folders[1], tmp_path / "other", tasks=tasks)
    with pytest.raises(ValueError, match=f"the task {tasks[0]['name']} of other is not that of"):
        Mixture([datasets[1], other], (1.0, 1.0))


def test_two_folders_of_one_name_cannot_be_told_apart(tiny_dataset, tmp_path, datasets):
    other = tmp_path / tiny_dataset.name
    shutil.copytree(tiny_dataset, other)
    with pytest.raises(ValueError, match=r"two of data\.dirs are called"):
        Mixture([datasets[0], Dataset(other)], (1.0, 1.0))


def drawn(parts, data_sets, count=400):
    order = batch_order.endless(parts, data_sets, 4, seed=5)
    return np.array([order[index] for index in range(count)])


def test_batches_mix_data_sets_by_weight_and_visit_all_rows_of_each():
    first, second = np.arange(40), np.arange(40, 50)
    data_sets = [(first, 1.0), (second, 3.0)]
    batches = drawn([np.arange(50)], data_sets)
    assert (batches >= 40).mean() == pytest.approx(0.75, abs=0.01)
    assert ((batches >= 40).any(axis=1) & (batches < 40).any(axis=1)).mean() > 0.9
    assert np.bincount(batches.ravel())[40:].std() < 2
    apart = drawn([first, second], data_sets)
    of_second = (apart >= 40).mean(axis=1)
    assert set(of_second) == {0.0, 1.0}
    assert of_second.mean() == pytest.approx(0.75, abs=0.01)


def test_one_data_set_is_drawn_by_the_sizes_of_its_parts():
    parts = [np.arange(30), np.arange(30, 40)]
    batches = drawn(parts, [(np.arange(40), 1.0)])
    assert (batches[:, 0] >= 30).mean() == pytest.approx(0.25, abs=0.01)


def batches_of(mixed, **options):
    tokenizer = Tokenizer(mixed.folder / "vocab.txt", max_tokens=12)
    how = {"global_batch_size": 8, "seed": 3, "read_threads": 0, "prefetch_batches": 0}
    fields = ("images", "input_ids", "attention_mask", "report_group")
    return train_iterator(mixed, tokenizer, fields=fields, **how, **options)


@pytest.mark.parametrize("apart", [True, False])
def test_a_batch_is_of_one_data_set_if_asked_and_goes_on_exactly(
    mixed, datasets, apart, monkeypatch
):
    endless, given = batch_order.endless, []

    def watched(parts, *arguments):
        given.append(parts)
        return endless(parts, *arguments)

    monkeypatch.setattr(batch_order, "endless", watched)
    iterator = batches_of(mixed, one_data_set_a_batch=apart)
    count = len(datasets[0].columns("train").level)
    sides = [{bool(row < count) for row in part} for part in given[0]]
    assert sides == ([{True}, {False}] if apart else [{True, False}])
    batches = [next(iterator)["images"] for _ in range(12)]
    again = batches_of(mixed, one_data_set_a_batch=apart)
    again.set_state({"next_index": 9})
    np.testing.assert_array_equal(next(again)["images"], batches[9])
    halves = [
        batches_of(mixed, one_data_set_a_batch=apart, process_index=part, process_count=2)
        for part in range(2)
    ]
    both = np.concatenate([next(half)["images"] for half in halves])
    np.testing.assert_array_equal(both, batches[0])


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dirs": (("a", 0.0),)}, "must be pairs of a folder and a number above 0"),
        ({"dirs": ("a", "b")}, "must be pairs of a folder"),
        ({"dirs": (("a", 1.0),), "dir": "b"}, r"data\.dir='b' does not go with data\.dirs"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, sentence):
    config = base.get_config()
    config.data.update(fields)
    with pytest.raises(ValueError, match=sentence):
        config_check.validated(config)


def test_a_run_on_two_data_sets_is_measured_on_all_and_on_each(folders, tmp_path):
    config = tiny_config(folders[0])
    config.data.update(dir="", global_batch_size=8)
    config.data.dirs = tuple((str(folder), 1.0) for folder in folders)
    config.total_steps, config.optim.warmup_steps = 2, 1
    config.eval.update(at_the_end=("retrieval",), bootstrap_resamples=20, every_steps=0)
    metrics = train_and_evaluate(config, tmp_path)
    images = [metrics[f"test@{folder.name}/retrieval/images"] for folder in folders]
    assert metrics["test/retrieval/images"] == sum(images)
    kept = json.loads((tmp_path / "data_manifest.json").read_text())
    assert list(kept["data_sets"]) == [folder.name for folder in folders]
