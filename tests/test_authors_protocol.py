"""The authors' question: who answers it, that nobody peeks, and what the page concludes."""

import csv
import dataclasses
import itertools

import numpy as np
import pytest

from lumbarclip_jax.authors_protocol import answers, measuring, page, plan
from lumbarclip_jax.data.tasks import tasks_of
from lumbarclip_jax.evaluators.predictions_file import Kept, save_kept
from tests.conftest import REPOSITORY
from tests.fake_embedder import FakeEmbedder, make_split, with_own_task
from tests.planted_runs import planned, predictions

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
        def texts(self, state, texts):
            asked.extend(texts)
            return super().texts(state, texts)

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
    assert splits["test"].image_features.shape[1] != splits["test"].text_features.shape[1]
    of_embeds = answers.zero_shot(FakeEmbedder(**splits), None, TASK, "test", seed=0)
    wide = np.random.default_rng(0).normal(size=splits["test"].text_features.shape)
    splits["test"] = dataclasses.replace(splits["test"], image_features=wide)
    of_features = answers.zero_shot(FakeEmbedder(**splits), None, TASK, "test", seed=0)
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
        found = measuring.of_run(run, tmp_path / "answers", task, "test")
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
        measuring._fine_tuned(run, tmp_path, "lbp", "test")


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
    found = measuring._fine_tuned(run, tmp_path, "lbp", "test")
    np.testing.assert_array_equal(found.probabilities, PERFECT.probabilities)
    assert {f"--workdir={run.folder}", "--task=lbp", "--split=test", "--seed=2"} <= set(given)


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


@pytest.mark.skipif(
    not list((REPOSITORY / "configs").glob("authors_*.py")), reason="their run files are not here"
)
def test_its_runs_are_six_of_every_objective(tmp_path):
    runs = plan.planned(["labels", "clip"], size="quick", seeds=2, data_dir="a/set", out=tmp_path)
    assert {name: len(of) for name, of in runs.items()} == {"labels": 12, "clip": 12}
    weights = {
        name: {run.config["objective"]["clip"]["weight"] for run in of} for name, of in runs.items()
    }
    assert weights == {"labels": {0.0}, "clip": {1.0}}
    assert all(run.folder.parent == tmp_path / "clip" / "runs" for run in runs["clip"])
