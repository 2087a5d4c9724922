"""Folds by patient keep patients and equal reports apart; the leaky split does not, on purpose."""

import dataclasses
import itertools

import numpy as np
import pytest

from configs import base
from lumbarclip_jax.data import resplit
from lumbarclip_jax.data.dataset import Columns, Dataset
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.run_folder.run import save_definition
from lumbarclip_jax.training import config_check

SPLITS = ("train", "validation", "test")
FOLDS = [f"fold_{k}_of_3" for k in (1, 2, 3)]


def cohort(patients: int, seed: int = 0) -> Columns:
    """Three images a patient; some patients share a report, grades and findings differ."""
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(patients), 3)
    grade_of_patient = rng.integers(1, 6, patients)

    def text(prefix: str, values: np.ndarray) -> np.ndarray:
        return np.array([f"{prefix}{value}" for value in values])

    return Columns(
        report=text("report ", patient),
        report_group=text("g", np.maximum(patient - patients // 2, 0)),  # one half share a report
        patient_id=text("p", patient),
        study_id=text("s", patient),
        image_id=text("i", np.arange(3 * patients)),
        level=np.tile(["L3-L4", "L4-L5", "L5-S1"], patients),
        sequence=np.full(3 * patients, "T1"),
        findings=np.repeat(rng.integers(0, 2, (patients, 4)), 3, axis=0).astype(np.uint8),
        level_findings=rng.integers(0, 2, (3 * patients, 2)).astype(np.uint8),
        pfirrmann=np.repeat(grade_of_patient, 3).astype(np.uint8),
        names=("a", "b", "c", "d"),
        level_names=("e", "f"),
        own_labels=np.zeros((3 * patients, 0), np.int8),
        tasks={},
    )


def ids(columns: Columns, rows: np.ndarray, name: str = "image_id") -> set[str]:
    return set(getattr(columns, name)[rows])


def test_folds_are_disjoint_by_patient_and_report_and_test_everyone_once():
    columns = cohort(patients=60)
    columns = dataclasses.replace(
        columns, report_group=np.array([f"g{int(p[1:]) // 2}" for p in columns.patient_id])
    )
    parts = [resplit.assign_rows(columns, form, {}) for form in FOLDS]
    for rows in parts:
        for a, b in itertools.combinations(SPLITS, 2):
            assert not ids(columns, rows[a], "patient_id") & ids(columns, rows[b], "patient_id")
            assert not ids(columns, rows[a], "report_group") & ids(columns, rows[b], "report_group")
        assert sorted(np.concatenate(list(rows.values()))) == list(range(180))
    assert sorted(np.concatenate([rows["test"] for rows in parts])) == list(range(180))


def test_patients_that_are_linked_only_through_others_stay_together():
    columns = cohort(patients=24)
    # p0-p1 share a report, p1-p2 another one: three patients, one group.
    columns.report_group[:] = columns.patient_id
    columns.report_group[[0, 3]] = "first"
    columns.report_group[[4, 6]] = "second"
    for form in FOLDS:
        rows = resplit.assign_rows(columns, form, {})
        holders = [s for s in SPLITS if ids(columns, rows[s], "patient_id") & {"p0", "p1", "p2"}]
        assert len(holders) == 1


def test_folds_have_their_share_of_patients_and_labels():
    columns = cohort(patients=150)
    columns.report_group[:] = columns.patient_id
    for form in FOLDS:
        rows = resplit.assign_rows(columns, form, {})
        # 50 patients tested; of the other 100 one in eight validates.
        assert [len(ids(columns, rows[s], "patient_id")) for s in SPLITS] == [87, 13, 50]
        for labels in (columns.level_findings == 1, (columns.pfirrmann >= 3)[:, None]):
            shares = labels[rows["test"]].mean(axis=0)
            np.testing.assert_allclose(shares, labels.mean(axis=0), atol=0.03)


@pytest.mark.parametrize("form", ["fold_2_of_3", "leaky"])
def test_the_order_of_the_records_does_not_matter(form):
    columns = cohort(patients=30)
    sizes = {"train": 60, "validation": 12, "test": 18}
    shuffled = columns.take(np.random.default_rng(1).permutation(90))
    first, second = (resplit.assign_rows(c, form, sizes) for c in (columns, shuffled))
    for split in SPLITS:
        assert ids(columns, first[split]) == ids(shuffled, second[split])


def test_the_leaky_split_leaks():
    columns = cohort(patients=30)
    sizes = {"train": 60, "validation": 12, "test": 18}
    rows = resplit.assign_rows(columns, "leaky", sizes)
    assert {split: len(part) for split, part in rows.items()} == sizes
    assert sorted(np.concatenate(list(rows.values()))) == list(range(90))
    train, test = (ids(columns, rows[split], "patient_id") for split in ("train", "test"))
    assert len(test & train) > len(test) / 2


@pytest.mark.parametrize("form", ["fold_0_of_5", "fold_6_of_5", "fold_1_of_1", "Leaky", "5"])
def test_other_forms_are_named(form):
    config = base.get_config()
    config.data.resplit = form
    with pytest.raises(ValueError, match=rf"data\.resplit='{form}' is not .*'fold_2_of_5'"):
        config_check.validated(config)


def test_too_few_patients_are_named():
    with pytest.raises(ValueError, match="groups of patients cannot be dealt out to 50 splits"):
        resplit.assign_rows(cohort(patients=20), "fold_1_of_50", {})


def test_a_data_set_is_read_on_its_new_splits(tiny_dataset):
    stored = Dataset(tiny_dataset)
    record_of = {
        image: (split, i)
        for split in stored.splits
        for i, image in enumerate(stored.columns(split).image_id)
    }
    tested = []
    for form in FOLDS:
        again = Dataset(tiny_dataset, form)
        assert again.splits == SPLITS
        for split in SPLITS:
            columns, source = again.columns(split), again.source(split)
            assert len(source) == len(columns.image_id)
            assert again.manifest["splits"][split]["images"] == len(source)
            rows = [len(source) - 1, 0]
            for row, pixels in zip(rows, again.images(split, rows), strict=True):
                home, i = record_of[columns.image_id[row]]
                np.testing.assert_array_equal(pixels, stored.images(home, [i])[0])
                assert source[row]["image_id"].decode() == columns.image_id[row]
                assert columns.report[row] == stored.columns(home).report[i]
        tested += again.columns("test").image_id.tolist()
    assert sorted(tested) == sorted(record_of)


def test_training_batches_come_from_the_new_train_split(tiny_dataset):
    dataset = Dataset(tiny_dataset, "fold_1_of_3")
    batches = train_iterator(
        dataset,
        Tokenizer(dataset.folder / "vocab.txt", max_tokens=12),
        global_batch_size=6,
        seed=0,
        level_prefix=True,
        one_level_a_batch=True,
        read_threads=1,
        prefetch_batches=1,
    )
    rows = dataset.source("train")
    allowed = {record["image"].tobytes() for record in rows.__getitems__(range(len(rows)))}
    seen = {image.tobytes() for _ in range(12) for image in next(batches)["images"]}
    assert seen <= allowed


def test_only_the_leaky_split_warns(tiny_dataset):
    leaky, fold = Dataset(tiny_dataset, "leaky"), Dataset(tiny_dataset, "fold_1_of_3")
    assert "no results" in leaky.manifest["warning"]
    assert leaky.cautions == {"LEAKY_SPLIT_NO_RESULTS": 1.0}
    assert "warning" not in fold.manifest
    assert not fold.cautions
    counts = Dataset(tiny_dataset).manifest["splits"]
    assert [leaky.manifest["splits"][s]["images"] for s in SPLITS] == [
        counts[s]["images"] for s in SPLITS
    ]


def test_a_run_is_not_continued_on_other_splits(tiny_run, tiny_dataset, tmp_path):
    for name in ("config.json", "vocab.txt"):
        (tmp_path / name).write_bytes((tiny_run.folder / name).read_bytes())
    config = tiny_run.config.copy_and_resolve_references()
    config.data.resplit = "fold_1_of_3"
    with pytest.raises(ValueError, match="resplit='', not 'fold_1_of_3'"):
        save_definition(tmp_path, config, tiny_run.tokenizer, Dataset(tiny_dataset).manifest)


def test_a_run_is_measured_on_its_own_splits(tiny_run, tiny_dataset):
    config = tiny_run.config.copy_and_resolve_references()
    config.data.resplit = "fold_1_of_3"
    run = dataclasses.replace(tiny_run, config=config)
    assert run.dataset().resplit == "fold_1_of_3"
    assert run.dataset(tiny_dataset).resplit == "fold_1_of_3"  # a copy under another name
