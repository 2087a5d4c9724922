"""Images and the variants of their reports: accuracies counted by hand, ties, and the baseline."""

import dataclasses

import numpy as np
import pytest

from data_prep.variants import alignment
from lumbarclip_jax.evaluators import evaluator_class
from lumbarclip_jax.evaluators.alignment import in_order
from lumbarclip_jax.evaluators.text_only import fit_text_only
from lumbarclip_jax.report import order, tables
from tests.fake_embedder import EMBED, FakeEmbedder, make_split
from tests.report_pages import write

PATIENTS = 6
REPORTS = [
    f"L4-L5: left disc protrusion.\nMuscle spasm. Number {patient}." for patient in range(5)
] + ["L3-L4: disc bulge."]
# Cosines of report, denial, omission, other disc, other side; None is as the report.
SCORES = [
    (0.5, 0.1, 0.3, 0.2, 0.2),  # all as it should be
    (0.5, 0.9, 0.3, 0.2, 0.2),  # the denial is nearer
    (0.5, 0.5, 0.5, 0.2, 0.5),  # ties
    (0.5, 0.4, 0.3, 0.2, 0.9),  # denied before left out
    (0.5, 0.1, 0.3, 0.9, 0.2),  # the other disc is nearer
    (0.5, 0.1, 0.3, 0.9, 0.0),  # a bulge, which has no side
]


def split_of(reports, levels) -> object:
    """One image a patient."""
    split = make_split(len(reports), 2)
    one = {
        field.name: value[::3]
        for field in dataclasses.fields(split)
        if isinstance(value := getattr(split, field.name), np.ndarray)
    }
    texts = {"report": np.array(reports), "report_group": np.array(reports)}
    axis = np.eye(1, EMBED, dtype=np.float32).repeat(len(reports), axis=0)
    levels = np.array(levels)
    return dataclasses.replace(split, **{**one, **texts, "level": levels, "image_embeds": axis})


class Scored(FakeEmbedder):
    """Embeds texts at the cosines that they are to have with every image."""

    def __init__(self, scores, **options):
        super().__init__(**options)
        self.scores = scores

    def encode_text(self, state, texts, output="text_embeds"):
        cosine = np.array([self.scores[text] for text in texts])
        embeds = np.zeros((len(texts), EMBED))
        embeds[:, 0], embeds[:, 1] = cosine, np.sqrt(1 - cosine**2)
        return embeds.astype(np.float32)


def scored(*, level_prefix: bool = False, **splits) -> Scored:
    levels = ["L4-L5"] * 5 + ["L3-L4"]
    scores = {}
    for item, level, of in zip(alignment.items(REPORTS, levels), levels, SCORES, strict=True):
        texts = {"": item.report, **{kind: v.text for kind, v in item.variants.items()}}
        for kind, score in zip(("", "negated", "omitted", "level", "side"), of, strict=True):
            if kind in texts:
                prefix = f"{level} : " if level_prefix else ""
                scores[prefix + texts[kind]] = score
    test = split_of(REPORTS, levels)
    return Scored(scores, level_prefix=level_prefix, test=test, **splits)


def run(embedder) -> dict[str, float]:
    found, _ = evaluator_class("alignment")(embedder, split="test", resamples=50).run(None)
    return {name.removeprefix("test/alignment/"): value for name, value in found.items()}


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return run(scored())


@pytest.mark.parametrize(
    ("comparison", "images", "accuracy", "ties", "chance"),
    [
        ("negated", 6, (1 + 0 + 1 / 2 + 1 + 1 + 1) / 6, 1 / 6, 1 / 2),
        ("omitted", 5, (1 + 1 + 1 / 2 + 1 + 1) / 5, 1 / 5, 1 / 2),
        ("omitted_then_negated", 5, (1 + 0 + 1 / 6 + 0 + 1) / 5, 1 / 5, 1 / 6),
        ("level_swap", 6, (1 + 1 + 1 + 1 + 0 + 0) / 6, 0, 1 / 2),
        ("side_swap", 5, (1 + 1 + 1 / 2 + 0 + 1) / 5, 1 / 5, 1 / 2),
    ],
)
def test_accuracies_are_those_counted_by_hand(found, comparison, images, accuracy, ties, chance):
    assert found[f"{comparison}/images"] == found[f"{comparison}/patients"] == images
    assert found[f"{comparison}/accuracy"] == pytest.approx(accuracy)
    assert found[f"{comparison}/ties"] == pytest.approx(ties)
    assert found[f"{comparison}/accuracy_chance"] == pytest.approx(chance)
    low, high = (found[f"{comparison}/accuracy_ci_{end}"] for end in ("low", "high"))
    assert low < accuracy < high


def test_findings_and_discs_are_measured_where_enough_patients_have_them(found):
    assert found["level_swap/disc_protrusion/accuracy"] == pytest.approx(4 / 5)
    assert found["level_swap/L4-L5/accuracy"] == pytest.approx(4 / 5)
    assert found["level_swap/L4-L5/images"] == 5
    assert not [name for name in found if "disc_bulge" in name or "L3-L4" in name]
    assert not [name for name in found if "text_only" in name]  # there is nothing to fit it on


def test_texts_begin_with_the_level_where_they_did_in_training(found):
    # Another text would not be among the scores.
    assert run(scored(level_prefix=True)) == found


def test_reports_without_variants_are_counted_and_not_measured():
    assert run(FakeEmbedder(test=make_split(3, 2))) == {
        f"{comparison}/{count}": 0
        for comparison in ("negated", "omitted", "omitted_then_negated", "level_swap", "side_swap")
        for count in ("images", "patients")
    }


def test_what_an_image_adds_is_told_from_what_any_image_reaches():
    """Two images that see opposite things, and a third patient's at another disc."""
    reports = ["L4-L5: disc protrusion.", "L4-L5: no disc protrusion.", "L3-L4: disc bulge."]
    split = split_of(reports, ["L4-L5", "L4-L5", "L3-L4"])
    axis = np.zeros((3, EMBED), np.float32)
    axis[:, 0] = 1, -1, 1
    scores = {reports[0]: 0.5, reports[1]: -0.5, reports[2]: 0.5}
    for item in alignment.items(reports, split.level.tolist()):
        for variant in item.variants.values():
            scores.setdefault(variant.text, 0.0)
    found = run(Scored(scores, test=dataclasses.replace(split, image_embeds=axis)))
    # Each is nearer to its own; by the image of the other both are wrong; the third has no other.
    assert found["negated/images"] == 3
    assert found["negated/accuracy"] == 1
    assert found["negated/other_images_accuracy"] == 0
    assert found["negated/accuracy_gain_over_other_images"] == 1


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.3, 0.2), 1),
        ((0.2, 0.3), 0),
        ((0.2, 0.2 + 1e-8), 1 / 2),
        ((0.3, 0.2, 0.1), 1),
        ((0.3, 0.1, 0.2), 0),
        ((0.3, 0.2, 0.2), 1 / 2),
        ((0.3, 0.3, 0.2), 1 / 2),
        ((0.2, 0.2, 0.3), 0),
        ((0.2, 0.2, 0.2), 1 / 6),
    ],
)
def test_ties_count_as_a_blind_order(scores, expected):
    assert in_order(np.array([scores]))[0] == pytest.approx(expected)


def test_wording_that_gives_variants_away_is_told_beside_the_images():
    levels = ["L4-L5"] * 5
    fitting = {
        name: split_of(
            [f"L4-L5: disc protrusion {name} {k}. Muscle spasm." for k in range(5)], levels
        )
        for name in ("train", "validation")
    }
    found = run(scored(**fitting))
    # "No" denies, in training and here.
    assert found["negated/text_only_accuracy"] == 1
    assert found["negated/text_only_accuracy_chance"] == 1 / 2
    gain = found["negated/accuracy"] - found["negated/text_only_accuracy"]
    assert found["negated/accuracy_gain_over_text_only"] == pytest.approx(gain)
    assert found["negated/accuracy_gain_over_text_only_chance"] == 0
    assert "side_swap/text_only_accuracy" not in found  # no side in the reports of training


def test_the_wording_scores_texts_it_has_not_seen():
    pairs = [(f"bulge at {k}", f"no bulge at {k}") for k in range(6)]
    score = fit_text_only(pairs[:4], pairs[4:])
    kept, denied = score(["protrusion", "no protrusion"])
    assert kept > denied
    assert fit_text_only([], pairs) is None
    assert fit_text_only(pairs, []) is None


def test_the_page_names_the_numbers(found, tmp_path):
    metrics = {f"test/alignment/{name}": value for name, value in found.items()}
    (section,) = tables.sections(order.ordered(metrics))
    assert section.title == "Report or a variant of it"
    first = section.tasks["negated"]
    assert next(iter(section.tasks)) == "negated"
    assert (first.title, first.facts) == ("Report → finding denied", ["6 images", "6 patients"])
    rows = {row.title: row for row in first.tables["negated"].rows}
    assert list(rows) == [
        "Accuracy",
        "Accuracy with other patients' images instead",
        "Accuracy gained over other patients' images",
        "Share with a tie, which counts as a blind order",
    ]
    assert rows["Accuracy"].show(0.75) == "75.0\N{NO-BREAK SPACE}%"
    titles = [table.title for table in section.tasks["level_swap"].tables.values()]
    assert titles == ["", "Disc protrusion", "L4-L5"]
    text = write(tmp_path, metrics=metrics).text
    assert "Report or a variant of it, test split" in text
    assert "Report → left out → denied" in text
