"""Perturbed texts: the same for a seed, in the stated shares, and denials stay denials."""

import collections
import re

import numpy as np
import pytest

from data_prep.label_reports.reader import Reader
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.reports import write_report
from data_prep.sources import mendeley
from data_prep.text.reports import read_reports
from lumbarclip_jax.data.perturbations import Perturbation, perturbed
from lumbarclip_jax.data.synonyms import Synonyms

REPORT = (
    "LSS MRI :\nDiffuse disc bulge is noted at the L4/L5 level, more to the Lt side // "
    "No evidence of disc herniation is seen.\nAdequate spinal canal."
)
EDA = {"protect": False}


@pytest.fixture(scope="module")
def synonyms() -> Synonyms:
    return Synonyms()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def bag(text):
    return collections.Counter(re.findall(r"\w+", text))


@pytest.mark.parametrize("text", [REPORT, "", " \n", "...", "Normal."])
@pytest.mark.parametrize("one_of", [False, True])
def test_nothing_to_do_gives_the_very_text(synonyms, text, one_of):
    assert perturbed(text, Perturbation(one_of=one_of), synonyms, seed=3) is text


@pytest.mark.parametrize("how", [{"synonyms": 0.5}, {"swap": 0.5, **EDA}, {"delete": 0.5, **EDA}])
def test_a_seed_decides(synonyms, how):
    drawn = [perturbed(REPORT, Perturbation(**how), synonyms, seed) for seed in range(50)]
    assert drawn == [perturbed(REPORT, Perturbation(**how), synonyms, seed) for seed in range(50)]
    assert len(set(drawn)) > 25


def test_one_of_draws_one_each_as_likely(synonyms):
    text = "multilevel noted aaa bbb ccc ddd eee fff ggg hhh"
    how = Perturbation(synonyms=1.0, swap=1.0, delete=1.0, one_of=True, protect=False)
    kinds = collections.Counter()
    for seed in range(600):
        found = perturbed(text, how, synonyms, seed)
        words = found.split()
        kinds["delete" if len(words) == 1 else "swap" if bag(found) == bag(text) else "else"] += 1
    assert set(kinds) == {"delete", "swap", "else"}
    assert all(150 < count < 250 for count in kinds.values())
    alone = Perturbation(delete=1.0, one_of=True, protect=False)
    assert all(len(bag(perturbed(text, alone, synonyms, seed))) == 1 for seed in range(20))


def test_swaps_move_words_within_their_statement(synonyms):
    words = [f"w{'abcdefghij'[n // 10]}{'abcdefghij'[n % 10]}" for n in range(100)]
    text = " ".join(words[:50]) + ".\n" + ", ".join(words[50:])
    moved = []
    for seed in range(40):
        found = perturbed(text, Perturbation(swap=0.1), synonyms, seed)
        first, second = (re.findall(r"\w+", part) for part in found.split("\n"))
        assert (sorted(first), sorted(second)) == (words[:50], words[50:])
        assert re.sub(r"\w+", "w", found) == re.sub(r"\w+", "w", text)
        moved.append(sum(now != was for now, was in zip(first + second, words, strict=True)))
    # Ten words exchange places with ten others; a few of the twenty are the same.
    assert 15 < np.mean(moved) < 20


def test_deletions_take_their_share_and_leave_a_word(synonyms):
    text = "; ".join(["noted at the"] * 1000)
    found = perturbed(text, Perturbation(delete=0.3), synonyms, seed=0)
    assert len(re.findall(r"\w+", found)) == pytest.approx(2100, abs=80)
    assert found.count(";") == 999
    assert "  " not in perturbed("one two three four", Perturbation(delete=0.5), synonyms, seed=1)
    for text in ("noted", "noted at the.", REPORT):
        how = Perturbation(delete=1.0, protect=False)
        assert {sum(bag(perturbed(text, how, synonyms, seed)).values()) for seed in range(20)} <= {
            1,
            2,
        }
    assert perturbed("...", Perturbation(delete=1.0), synonyms, seed=0) == "..."


def test_protected_words_and_denials_stay(synonyms):
    how = Perturbation(swap=1.0, delete=1.0)
    left = perturbed(REPORT, how, synonyms, seed=0)
    assert left == (
        "LSS :\ndisc bulge L4/L5 level, more Lt side // No evidence of disc herniation is seen.\n"
        "Adequate spinal canal."
    )


@pytest.mark.parametrize("how", [{"swap": 0.5}, {"delete": 0.5}, {"swap": 1.0, "delete": 0.5}])
def test_protected_denials_are_read_as_denials(synonyms, reader, how):
    reports = [write_report(draw_patient(5, number, 0.5)).text for number in range(1, 401)]
    # Without a denial there is nothing to turn.
    texts = [text for text in reports if synonyms.denies(text)]
    assert len(texts) > 60
    assert turned(texts, Perturbation(**how), synonyms, reader) == 0
    assert turned(texts, Perturbation(**how, protect=False), synonyms, reader) > 10


def test_denials_of_published_reports_are_read_as_denials(real_data, synonyms, reader):
    reports, _ = read_reports(
        real_data / "Radiologists Report.xlsx",
        patient_column=mendeley.PATIENT_COLUMN,
        report_column=mendeley.REPORT_COLUMN,
        patient_key=lambda cell: cell,
    )
    texts = list(dict.fromkeys(reports.values()))
    how = {"synonyms": 1.0, "swap": 0.5, "delete": 0.3}
    assert turned(texts, Perturbation(**how), synonyms, reader) == 0
    assert turned(texts, Perturbation(**how, protect=False), synonyms, reader) > 10


def turned(texts, how, synonyms, reader) -> int:
    """Texts in which a finding that was denied is stated once they are perturbed."""
    count = 0
    for seed, text in enumerate(texts):
        before = reader.read(text).findings
        after = reader.read(perturbed(text, how, synonyms, seed)).findings
        count += any(
            status == "absent" and after.get(name) == "present" for name, status in before.items()
        )
    return count


@pytest.mark.parametrize("name", ["synonyms", "swap", "delete"])
@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_what_is_no_probability(name, value):
    with pytest.raises(ValueError, match=f"{name}=.* is no probability: give 0 to 1"):
        Perturbation(**{name: value})
