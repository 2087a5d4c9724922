"""The tables of a sweep, from planted predictions with answers that can be worked out by hand."""

import csv

import numpy as np
import pytest

from lumbarclip_jax.evaluators.bootstrap import paired_differences
from lumbarclip_jax.evaluators.ranking import rank_metrics
from lumbarclip_jax.sweep.notes import notes
from lumbarclip_jax.sweep.pages import Page, run_links, write_pages
from lumbarclip_jax.sweep.results import read_results
from lumbarclip_jax.sweep.sampling import Sampled, holm, sample_ranks
from lumbarclip_jax.sweep.table import Measure, ablation
from tests.planted_runs import complete, planned, predictions

PATIENTS = ["a", "b", "c", "d"]
RECALL = Measure("test/retrieval/image_to_text", "recall_at_1", True)
AUROC = Measure("test/zero_shot/compression", "auroc", True)
ACCURACY = Measure("test/zero_shot/compression", "accuracy", False)


def test_holm_by_hand():
    # 0.01 x 3; 0.03 x 2; then 0.04 x 1, which may not fall below the step before.
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_p_value_by_hand():
    # One of four samples is at or below zero, and the observed one counts too: 2 x (1 + 1) / 5.
    assert Sampled(0.5, np.array([-1.0, 1, 1, 1])).p_value == pytest.approx(0.8)
    # The smallest that 999 samples can give, and no more than one.
    assert Sampled(0.5, np.ones(999)).p_value == pytest.approx(0.002)
    assert Sampled(0.0, np.zeros(99)).p_value == 1.0


def test_mean_over_seeds_and_baselines_by_hand(tmp_path):
    labels = [0, 0, 1, 1]
    runs = [planned(tmp_path, "vit_linear", seed=seed) for seed in (0, 1)]
    chance = {"test/retrieval/image_to_text_recall_at_1_chance": 0.25}
    level_only = predictions(labels, [0.6, 0.4, 0.6, 0.6], PATIENTS)
    for run, ranks, scores in (
        (runs[0], [1, 2, 1, 11], [0.1, 0.9, 0.8, 0.95]),  # recall 2/4, AUROC 3/4, accuracy 3/4
        (runs[1], [1, 1, 1, 1], [0.9, 0.8, 0.2, 0.1]),  # recall 1, AUROC 0, accuracy 0
    ):
        compression = predictions(labels, scores, PATIENTS)
        complete(
            run,
            ranks=ranks,
            patients=PATIENTS,
            metrics=chance,
            level_only=level_only,
            compression=compression,
        )
    table = ablation(read_results(runs), resamples=50)
    assert [(row.model, row.seeds) for row in table.rows] == [("vit_linear", 2)]
    recall = table.cells["vit_linear", RECALL]
    assert recall.value == 0.75
    assert recall.of_seed == (0.5, 1.0)
    assert recall.seed_deviation == pytest.approx(0.5 / 2**0.5)
    assert table.cells["vit_linear", AUROC].value == pytest.approx(0.375)
    assert table.cells["vit_linear", ACCURACY].value == 0.375
    assert table.chance[RECALL] == 0.25
    assert table.chance[AUROC] == 0.5
    # Level alone ranks the three pairs with the first negative as ties: (2 x 1/2 + 2) / 4.
    assert table.level_only[AUROC].value == 0.75
    assert not table.contrasts


def test_samples_are_those_of_the_paired_bootstrap(tmp_path):
    rng = np.random.default_rng(0)
    patients = np.repeat([f"p{i}" for i in range(20)], 3)
    of_model = {model: rng.integers(1, 15, (2, 60)) for model in ("vit_linear", "vit_mlp")}
    runs = []
    for model, ranks in of_model.items():
        for seed in (0, 1):
            run = planned(tmp_path, model, seed=seed)
            complete(run, ranks=ranks[seed], patients=patients)
            runs.append(run)
    linear, mlp = read_results(runs)
    key = "test/retrieval/image_to_text"
    ours, theirs = (
        sample_ranks([kept.ranks[key] for kept in results.of_seed], "", 200)["mrr"]
        for results in (mlp, linear)
    )
    ours = ours - theirs
    names, patient_of_row = np.unique(patients, return_inverse=True)

    def mean_over_seeds(ranks):
        each = [rank_metrics(of_seed, patient_of_row) for of_seed in ranks]
        return lambda weights: {"mrr": np.mean([m(weights)["mrr"] for m in each], axis=0)}

    expected = paired_differences(
        mean_over_seeds(of_model["vit_mlp"]),
        mean_over_seeds(of_model["vit_linear"]),
        names,
        resamples=200,
    )["mrr"]
    assert ours.value == pytest.approx(expected.value)
    assert ours.interval == pytest.approx((expected.low, expected.high))


@pytest.fixture
def two_heads(tmp_path):
    """Forty patients; the MLP ranks all of them first, the linear head half; Swin heads are equal.

    On the leaky split, of the ViT with the linear head alone, all are first.
    """
    patients = [f"p{i:02d}" for i in range(40)]
    half = [1, 2] * 20
    planted = {"vit_linear": half, "vit_mlp": [1] * 40, "swin_linear": half, "swin_mlp": half}
    runs = []
    for model, ranks in planted.items():
        run = planned(tmp_path, model)
        complete(run, ranks=ranks, patients=patients)
        runs.append(run)
    leaky = planned(tmp_path, "vit_linear", resplit="leaky")
    complete(leaky, ranks=[1] * 40, patients=patients)
    return [*runs, leaky]


def page_of(runs, failures=(), out=None, baseline=""):
    clean = read_results([run for run in runs if not run.is_leaky])
    table = ablation(clean, resamples=400, baseline=baseline)
    leaky = [run for run in runs if run.is_leaky]
    return Page(
        command="python -m lumbarclip_jax.sweep --out=x",
        notes=notes(runs, table, 400),
        table=table,
        leaky=ablation(read_results(leaky), resamples=400) if leaky else None,
        failures=list(failures),
        runs=run_links(runs, out or runs[0].folder.parent.parent),
    )


def test_only_the_head_that_differs_is_marked(two_heads):
    table = page_of(two_heads).table
    better = table.contrasts["vit_mlp", RECALL]
    assert better.difference.value == 0.5
    assert better.p == pytest.approx(2 / 401)
    assert better.p_holm == pytest.approx(4 / 401)  # two encoders
    assert better.sign == 1
    assert table.contrasts["swin_mlp", RECALL].sign == 0
    assert table.contrasts["swin_mlp", RECALL].p == 1.0


def test_all_models_are_compared_with_one_that_is_named(two_heads, tmp_path):
    clean = [run for run in two_heads if not run.is_leaky]
    page = page_of(clean, baseline="swin_mlp")
    better = page.table.contrasts["vit_mlp", RECALL]
    assert (better.than, better.difference.value, better.sign) == ("swin_mlp", 0.5, 1)
    assert better.p_holm == pytest.approx(3 * 2 / 401)  # three others
    assert page.table.contrasts["swin_linear", RECALL].p == 1.0
    assert ("swin_mlp", RECALL) not in page.table.contrasts
    markdown, html, _ = (path.read_text() for path in write_pages(page, tmp_path))
    part = markdown.partition("### Retrieval by image, less swin_mlp")[2].splitlines()
    found = next(line for line in part if line.startswith("| ViT, MLP |"))
    low, high = better.difference.interval
    assert found.startswith(f"| ViT, MLP | +0.500 [{low:+.3f}, {high:+.3f}] ▲ |")
    assert not any(line.startswith("| Swin, MLP |") for line in part[:8])
    for text in (markdown, html):
        assert "Ablation: what differs from swin_mlp" in text
        assert "▲ higher than swin_mlp, ▼ lower" in text
        assert "correction over the 3 others" in text


def test_of_several_data_sets_those_stand_side_by_side_that_all_were_measured_on(tmp_path):
    one, two = planned(tmp_path, "vit_linear"), planned(tmp_path, "swin_linear")
    ranks, patients = [1, 2, 1, 11], PATIENTS
    both = ([*ranks, 1], [*patients, "e"])
    complete(one, ranks=ranks, patients=patients, beside={"test@lumbar": (ranks, patients)})
    beside = {"test@lumbar": (ranks, patients), "test@spider": ([1], ["e"])}
    complete(two, ranks=both[0], patients=both[1], beside=beside)
    page = page_of([one, two])
    assert {measure.name.split for measure in page.table.measures} == {"test@lumbar"}
    assert any("measured on test@lumbar." in note for note in page.notes)


def test_pages_hold_the_same_numbers(two_heads, tmp_path):
    page = page_of(two_heads, failures=[("resnet_mlp_seed0", "<b>no</b> memory")])
    markdown, html, table = (path.read_text() for path in write_pages(page, tmp_path))
    row = next(line for line in markdown.splitlines() if line.startswith("| ViT, MLP |"))
    assert row.startswith("| ViT, MLP | **1.000 [0.912, 1.000] ▲** | 1.000 [0.912, 1.000] |")
    assert "<b>1.000</b> ▲<span>[0.912, 1.000]</span>" in html
    for text in (markdown, html):
        assert "python -m lumbarclip_jax.sweep --out=x" in text
        assert "Split by patient (6 train, 4 test), measured on test." in text
        assert "resnet_mlp_seed0" in text
    assert "&lt;b&gt;no" in html
    assert "<b>no" not in html
    assert "://" not in html
    lines = list(csv.DictReader(table.splitlines()))
    found = [
        line
        for line in lines
        if (line["model"], line["metric"], line["splits"])
        == ("vit_mlp", "recall_at_1", "by patient")
    ]
    assert len(found) == 1
    assert float(found[0]["value"]) == 1.0
    assert (found[0]["less"], float(found[0]["difference"])) == ("vit_linear", 0.5)
    assert found[0]["chance"] == ""


def test_a_task_of_the_data_sets_own_has_its_column(tmp_path):
    patients = [f"p{i}" for i in range(8)]
    labels, runs = [0, 1] * 4, []
    for model, said in {"vit_linear": 0.5, "vit_mlp": 0.9}.items():
        run = planned(tmp_path, model)
        pain = predictions(labels, [said if label else 0.1 for label in labels], patients)
        complete(run, ranks=[1] * 8, patients=patients, pain=pain)
        runs.append(run)
    page = page_of(runs)
    cell = page.table.cells["vit_mlp", Measure("test/zero_shot/pain", "auroc", main=True)]
    assert cell.value == 1.0
    markdown, html, table = (path.read_text() for path in write_pages(page, tmp_path))
    assert "Pain: Zero-shot" in markdown
    assert "Pain: Zero-shot" in html
    assert "pain" in {row["task"] for row in csv.DictReader(table.splitlines())}


def test_the_leaky_table_warns_and_stands_beside_the_clean_one(two_heads, tmp_path):
    markdown, html, _ = (path.read_text() for path in write_pages(page_of(two_heads), tmp_path))
    for text in (markdown, html):
        assert "These are no results." in text
        assert "slices of one patient are in train and in test" in text
    leaky = markdown[markdown.index("slice-level split would have claimed") :]
    clean_row = next(line for line in leaky.splitlines() if line.startswith("| ViT, linear, by p"))
    assert clean_row.startswith("| ViT, linear, by patient | 0.500 [")
    assert "| ViT, linear, by slice, leaky | 1.000 [0.912, 1.000] |" in leaky
    assert "**" not in leaky.replace("**These are no results.**", "")
    assert "| ViT, MLP, by slice, leaky | not measured |" in leaky
    clean_only = write_pages(page_of(two_heads[:-1]), tmp_path)[0].read_text()
    assert "slice-level" not in clean_only


def test_folds_are_pooled_by_hand(tmp_path):
    runs = [planned(tmp_path, "vit_linear", resplit=f"fold_{k}_of_2") for k in (1, 2)]
    name = "test/retrieval/image_to_text_recall_at_1_chance"
    complete(
        runs[0],
        ranks=[1, 1, 1],
        patients=["a", "a", "b"],
        metrics={name: 0.5},
        compression=predictions([0, 1], [0.1, 0.3], ["a", "b"]),
    )
    complete(
        runs[1],
        ranks=[2],
        patients=["c"],
        metrics={name: 0.1},
        compression=predictions([0, 1], [0.4, 0.9], ["c", "d"]),
    )
    table = ablation(read_results(runs), resamples=50)
    assert table.cells["vit_linear", RECALL].value == 0.75
    assert table.chance[RECALL] == pytest.approx((3 * 0.5 + 0.1) / 4)
    # Each fold ranks its own pair right; pooled, the negative of 0.4 is above the positive of 0.3.
    assert table.cells["vit_linear", AUROC].value == 0.75
    assert "2 folds by patient of 10 patients" in notes(runs, table, 50)[0]


def test_folds_that_test_a_patient_twice_are_refused(tmp_path):
    runs = [planned(tmp_path, "vit_linear", resplit=f"fold_{k}_of_2") for k in (1, 2)]
    for run in runs:
        complete(run, ranks=[1, 1], patients=["a", "b"])
    with pytest.raises(ValueError, match="patient a is tested in two folds"):
        read_results(runs)


def test_a_seed_without_all_its_folds_does_not_count(tmp_path):
    runs = [
        planned(tmp_path, "vit_linear", seed=seed, resplit=f"fold_{k}_of_2")
        for seed in (0, 1)
        for k in (1, 2)
    ]
    for run, patient in zip(runs[:3], "abc", strict=True):
        complete(run, ranks=[1], patients=[patient])
    assert [results.seeds for results in read_results(runs)] == [(0,)]


def test_models_measured_on_other_rows_are_refused(tmp_path):
    runs = [planned(tmp_path, model) for model in ("vit_linear", "vit_mlp")]
    complete(runs[0], ranks=[1, 1], patients=["a", "b"])
    complete(runs[1], ranks=[1, 1], patients=["a", "c"])
    with pytest.raises(ValueError, match="vit_linear and vit_mlp were measured on different rows"):
        ablation(read_results(runs), resamples=50)


def test_heads_on_unequal_seeds_are_shown_and_not_compared(tmp_path):
    runs = [planned(tmp_path, model, seed=s) for model in ("vit_linear", "vit_mlp") for s in (0, 1)]
    for run in runs[:3]:
        complete(run, ranks=[1, 1, 2, 2], patients=PATIENTS)
    page = page_of(runs)
    assert not page.table.contrasts
    assert [line.label for line in page.main_blocks[0].rows[:2]] == [
        "ViT, linear (seeds: 2)",
        "ViT, MLP (seeds: 1)",
    ]
