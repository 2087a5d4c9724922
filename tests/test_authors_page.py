"""The authors' question: what its page concludes and pairs, of runs that are measured once."""

import csv
import itertools

import numpy as np
import pytest

from lumbarclip_jax.authors_protocol import answers, measuring, page, plan
from lumbarclip_jax.evaluators.predictions_file import Kept, save_kept
from tests.planted_runs import planned, predictions

PATIENTS = np.repeat([f"p{n:02d}" for n in range(40)], 3)
LABELS = np.repeat(np.arange(40) % 4 > 0, 3).astype(int)  # three quarters have pain
ALWAYS_YES = predictions(LABELS, np.full(120, 0.75), PATIENTS)
PERFECT = predictions(LABELS, np.where(LABELS, 0.9, 0.1), PATIENTS)
WRONG = predictions(LABELS, np.where(LABELS, 0.1, 0.9), PATIENTS)
FACTS = ["Data: made up."]


def blind(words=PERFECT, always=ALWAYS_YES) -> list[page.Line]:
    said = {answers.ALWAYS: always, answers.BAYES: words, answers.WORDS: words}
    return [page.line_of(way, [of], 200) for way, of in said.items()]


def of_model(model: str, objective="clip", **ways) -> list[page.Line]:
    return [
        page.line_of(
            way, of if isinstance(of, list) else [of], 200, objective=objective, model=model
        )
        for way, of in ways.items()
    ]


def written(lines, out, measured=ALWAYS_YES) -> str:
    """The page, its first paragraph on one line."""
    paths = page.write(
        lines, out, measured=measured, command="a command", resamples=200, facts=FACTS
    )
    assert [path.name for path in paths] == ["README.md", "answers.csv"]
    text = paths[0].read_text()
    assert "\n\n\n" not in text
    assert "{" not in text
    # A blank line would end a table.
    below = [after for line, after in itertools.pairwise(text.splitlines()) if line[:4] == "|---"]
    assert below
    assert all(line.startswith("| ") for line in below)
    return text


def first(text: str) -> str:
    return " ".join(text.partition("\n- ")[0].split())


def test_what_was_answered_by_patient_has_no_table_by_image(tmp_path):
    by_patient = ALWAYS_YES.by_patient()
    lines = blind() + of_model("resnet_mlp", image=PERFECT, finetuned=by_patient)
    text = written(lines, tmp_path)
    assert text.partition("### Image encoder, fine-tuned")[2].count("| by ") == 1
    assert text.partition("### Image features, linear")[2].count("| by ") == 3
    rows = csv.DictReader((tmp_path / "answers.csv").read_text().splitlines())
    assert {row["unit"] for row in rows if row["way"] == "finetuned"} == {"patient"}


def test_the_page_without_models(tmp_path):
    text = written(blind(), tmp_path)
    said = first(text)
    assert said.startswith("# yes or no: what")
    assert "answers “yes” for every one of the 40 test patients is right for 75.0 %" in said
    assert "with a weighted F1 of 0.643" in said
    assert "from the image alone" not in said
    assert "The report gives the label away: its words alone have an AUROC of 1.00 [" in said
    assert "## Without an image" in text
    assert "| always the most frequent class | 0.75 [" in text
    assert "- Data: made up." in text
    assert "MLP" not in text


def test_the_most_frequent_class_may_be_the_first(tmp_path):
    labels = 1 - LABELS
    always = predictions(labels, np.full(120, 0.25), PATIENTS)
    noise = np.random.default_rng(0).random(120)
    lines = blind(predictions(labels, noise, PATIENTS), always)
    said = first(written(lines, tmp_path, always))
    assert said.startswith("# yes or no: what")
    assert "answers “no” for every one of the 40 test patients is right for 75.0 %" in said
    assert "gives the label away" not in said
    assert "The words of the report alone have an AUROC of 0." in said


def test_a_way_that_beats_the_most_frequent_class_is_named(tmp_path):
    # The report's features see no image: they may be right as often as they like.
    lines = blind() + of_model("swin_t_mlp", image=PERFECT, zero_shot_max=WRONG, report=PERFECT)
    said = first(written(lines, tmp_path))
    assert "Of the 2 ways of answering from the image alone, 1 is more often right" in said
    assert "swin_t_mlp (clip), image features, linear, 1.00 [" in said
    assert "highest AUROC by patient among them is 1.00" in said
    assert "chosen after the fact among 2" in said


def test_a_page_of_which_none_is_better_says_so(tmp_path):
    lines = blind() + of_model("swin_t_mlp", image=ALWAYS_YES, finetuned=WRONG, report=PERFECT)
    said = first(written(lines, tmp_path))
    assert "Of the 2 ways of answering from the image alone, not one is more often right" in said
    assert "highest AUROC by patient among them is 0.50" in said


def test_every_objective_has_its_tables(tmp_path):
    ways = {way: PERFECT for way in page.WAYS if way not in (answers.ALWAYS, answers.BAYES)}
    lines = blind() + of_model("a_linear", "soft_clip", **ways) + of_model("a_mlp", "clip", **ways)
    text = written(lines, tmp_path)
    for _, (title, _) in plan.OBJECTIVES.items():
        heading = f"## {title[0].upper()}{title[1:]}\n"
        assert (heading in text) == (not title.startswith("label"))
    assert "### Zero-shot, 10 sentences a class, the nearest\n" in text
    widths = {line.count("|") for line in text.splitlines() if line.startswith("|")}
    assert widths == {len(page.METRICS) + 2}
    assert "MLP head less linear head" not in text  # of no objective both


def test_contrasts_pair_the_heads_of_one_encoder_objective_and_way(tmp_path):
    lines = [
        *of_model("swin_t_linear", "clip", image=WRONG, report=PERFECT),
        *of_model("swin_t_mlp", "clip", image=PERFECT, report=PERFECT),
        *of_model("swin_b_mlp", "clip", image=PERFECT),
        *of_model("resnet_linear", "labels", image=PERFECT),
        *of_model("resnet_mlp", "clip", image=PERFECT),
    ]
    found = page.contrasts(lines)
    assert [(of.objective, of.encoder, of.way) for of in found] == [
        ("clip", "swin_t", "image"),
        ("clip", "swin_t", "report"),
    ]
    better, equal = (of.numbers["patient"]["auroc"] for of in found)
    assert (better.value, better.interval) == (1.0, (1.0, 1.0))
    assert (equal.value, equal.interval) == (0.0, (0.0, 0.0))
    text = written(blind() + lines, tmp_path)
    assert "## MLP head less linear head, paired, by patient" in text
    assert "| `swin_t`, clip, image features, linear | 1.00 [1.00, 1.00] |" in text


def test_seeds_are_averaged_and_the_csv_has_every_number(tmp_path):
    lines = blind() + of_model("vit_mlp", "labels", image=[PERFECT, WRONG])
    written(lines, tmp_path)
    rows = list(csv.DictReader((tmp_path / "answers.csv").read_text().splitlines()))
    assert len(rows) == 4 * len(page.UNITS) * len(page.METRICS)
    (row,) = [
        row
        for row in rows
        if (row["model"], row["unit"], row["metric"]) == ("vit_mlp", "patient", "auroc")
    ]
    assert {
        "objective": "labels",
        "way": "image",
        "seeds": "2",
        "value": "0.5",
    }.items() <= row.items()
    assert float(row["seed_sd"]) == pytest.approx(np.std([0, 1], ddof=1), rel=1e-5)
    (always,) = [
        r
        for r in rows
        if r["way"] == "always" and r["metric"] == "accuracy" and r["unit"] == "image"
    ]
    assert (always["model"], always["value"], always["seed_sd"]) == ("", "0.75", "nan")
    assert float(always["low"]) < 0.75 < float(always["high"])


def test_seeds_of_other_patients_are_refused():
    other = predictions(LABELS, np.full(120, 0.5), np.char.add("x", PATIENTS))
    with pytest.raises(ValueError, match="clip vit_mlp image: the seeds were measured on differe"):
        of_model("vit_mlp", image=[PERFECT, other])


def test_a_run_is_measured_once_for_each_task(tmp_path, monkeypatch):
    run = planned(tmp_path, "vit_mlp")
    measured = []

    def by_embeddings(run, task, split):
        measured.append(task)
        return {answers.IMAGE: PERFECT, answers.BOTH: WRONG}

    monkeypatch.setattr(measuring, "_by_embeddings", by_embeddings)
    monkeypatch.setattr(measuring, "_fine_tuned", lambda *arguments: ALWAYS_YES)
    for task in ("lbp", "lbp", "pain", "lbp"):
        found = measuring.of_run(run, tmp_path / "answers", task, "test", [])
        assert set(found) == {"image", "image_and_report", "finetuned"}
        np.testing.assert_array_equal(found["image"].probabilities, PERFECT.probabilities)
        np.testing.assert_array_equal(found["finetuned"].labels, LABELS)
    assert measured == ["lbp", "pain"]


def test_a_fine_tune_that_fails_is_told_with_its_last_words(tmp_path, monkeypatch):
    script = tmp_path / "fails.py"
    script.write_text("import sys\nprint('a line', file=sys.stderr)\nsys.exit('error: no room')\n")
    run = planned(tmp_path, "vit_mlp")
    monkeypatch.setattr(measuring, "FINETUNE", (measuring.sys.executable, str(script)))
    with pytest.raises(
        ValueError, match=r"the fine-tune of .*vit_mlp_seed0 ended with 1: error: no"
    ):
        measuring._fine_tuned(run, tmp_path, "lbp", "test", [])


def test_a_fine_tune_is_that_of_the_command(tmp_path, monkeypatch):
    run = planned(tmp_path, "vit_mlp", seed=2)
    given = []

    class Done:
        returncode = 0

    def command(arguments, **options):
        given.extend(arguments)
        out = tmp_path / "vit_mlp_seed2_finetuned"
        out.mkdir()
        kept = {"test/finetune/lbp": PERFECT, "test/finetune/lbp/by_patient": PERFECT}
        save_kept(Kept(predictions=kept), out / "predictions.npz")
        return Done

    monkeypatch.setattr(measuring.subprocess, "run", command)
    found = measuring._fine_tuned(run, tmp_path, "lbp", "test", ["--recipe.epochs=2"])
    np.testing.assert_array_equal(found.probabilities, PERFECT.probabilities)
    assert {f"--workdir={run.folder}", "--task=lbp", "--split=test", "--seed=2"} <= set(given)
    assert given[-1] == "--recipe.epochs=2"


def test_the_facts_are_those_of_the_data_and_the_runs(tmp_path):
    manifest = {
        "source": "a test",
        "splits": {"train": {"patients": 6}, "test": {"patients": 4}},
        "views": {"axial": {"T1": 30, "T2": 3}},
        "report_groups_apart": 2,
    }
    runs = [planned(tmp_path, "vit_mlp", seed=seed) for seed in range(3)]
    data, apart, training = plan.facts(manifest, runs)
    assert "patients: 6 train, 4 test; images: 30 axial T1, 3 axial T2." in data
    assert apart.startswith("2 reports that are word for word the same")
    assert training.startswith("Training: 5 steps of 8 pairs, images of 32 px,")
    assert "means over 3 seeds" in training


# ml_collections loads run files so; main, which has no warnings as errors, does too.
@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")
def test_its_runs_are_six_of_every_objective(tmp_path):
    runs = plan.planned(
        ["labels", "clip"],
        "configs/authors_{resnet,swin_t,swin_b}_{linear,mlp}.py",
        size="quick",
        seeds=2,
        data_dir="a/set",
        overrides=["--config.total_steps=9"],
        out=tmp_path,
    )
    assert {name: len(of) for name, of in runs.items()} == {"labels": 12, "clip": 12}
    weights = {
        name: {run.config["objective"]["clip"]["weight"] for run in of} for name, of in runs.items()
    }
    assert weights == {"labels": {0.0}, "clip": {1.0}}
    assert all(run.config["total_steps"] == 9 for of in runs.values() for run in of)
    assert all(run.folder.parent == tmp_path / "clip" / "runs" for run in runs["clip"])
