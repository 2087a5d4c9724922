"""The phantom's reports: what they say, how often, and in whose words."""

import collections
import dataclasses
import re

import numpy as np
import openpyxl
import pytest

from data_prep.phantom.anatomy import (
    BULGE_MM,
    INDENTATION_MM,
    PROTRUSION_MM,
    draw_patient,
)
from data_prep.phantom.reports import Report, write_report
from data_prep.records.schema import LEVELS

COUNT = 500
# Every way a reader writes a level, turned back into its name.
SPELLINGS = {
    spelling: level
    for level in LEVELS
    for a, b in [level.split("-")]
    for spelling in (f"{a}-{b}", f"{a}/{b}", f"{a}-{b[1:]}", f"{a}/{b[1:]}")
    if not spelling.endswith("1") or "S" in spelling
}


@pytest.fixture(scope="module")
def patients():
    return [draw_patient(1, n, 0.5) for n in range(1, COUNT + 1)]


@pytest.fixture(scope="module")
def reports(patients):
    return [write_report(p) for p in patients]


@pytest.fixture(scope="module")
def written(patients, reports):
    return [(p, r) for p, r in zip(patients, reports, strict=True) if r.text]


def named_levels(text):
    return {SPELLINGS[m] for m in re.findall(r"L\d[-/](?:L?\d|S1)", text)}


def rate(rows):
    return float(np.mean(list(rows)))


def test_style_statistics(reports, written):
    assert 0.06 < rate(not r.text for r in reports) < 0.14
    words = [len(r.text.split()) for _, r in written]
    assert 22 < np.mean(words) < 34
    assert max(words) < 140
    texts = collections.Counter(r.text for _, r in written)
    assert texts.most_common(1)[0][1] >= 4  # boiler-plate normals repeat word for word
    everything = "\n".join(texts)
    for piece in ("L4-5", "L4/5", "L4-L5", "L4/L5", "L5/S1", " & ", " // ", "Lt ", "right "):
        assert piece in everything


def test_prevalence_follows_the_cohort(patients):
    def per_level(truth):
        return [rate(truth(p.levels[i]) for p in patients) for i in range(3)]

    displaced = per_level(lambda x: x.bulge_mm >= BULGE_MM or x.protrusion_mm >= PROTRUSION_MM)
    compressed = per_level(lambda x: x.sac_indentation_mm >= INDENTATION_MM)
    worn = per_level(lambda x: x.pfirrmann >= 3)
    np.testing.assert_allclose(displaced, [0.19, 0.60, 0.39], atol=0.07)
    np.testing.assert_allclose(compressed, [0.16, 0.55, 0.35], atol=0.08)
    np.testing.assert_allclose(worn, [0.32, 0.51, 0.51], atol=0.07)
    sides = collections.Counter(x.side for p in patients for x in p.levels if x.side)
    assert min(sides["left"], sides["right"], sides["central"]) > 20


def test_stated_findings_follow_the_cohort(written):
    def said(finding, status):
        return rate(r.findings.get(finding) == status for _, r in written)

    assert said("disc_bulge", "present") == pytest.approx(0.66, abs=0.08)
    assert said("disc_protrusion", "present") == pytest.approx(0.27, abs=0.08)
    assert said("thecal_sac_compression", "present") == pytest.approx(0.73, abs=0.08)
    assert said("thecal_sac_compression", "absent") == pytest.approx(0.22, abs=0.08)
    assert said("nerve_root_compression", "present") == pytest.approx(0.66, abs=0.08)
    assert said("disc_herniation", "present") == 0  # only ever denied
    assert said("disc_herniation", "absent") > 0.1
    assert said("muscle_spasm", "present") == pytest.approx(0.45, abs=0.08)
    assert said("annular_tear", "uncertain") > 0


def test_levels_are_those_the_text_names(written):
    for _, report in written:
        assert set(report.levels) <= named_levels(report.text)
        present = {name for names in report.levels.values() for name in names}
        assert all(report.findings[name] == "present" for name in present)


def test_reports_agree_with_the_truth(written):
    hits = collections.Counter()
    for patient, report in written:
        multilevel = "ultilevel" in report.text
        for level in patient.levels:
            stated = report.levels.get(level.name, ())
            truth = level.bulge_mm >= BULGE_MM
            if not multilevel:
                hits["bulge", truth, "disc_bulge" in stated] += 1
            sac = level.sac_indentation_mm >= INDENTATION_MM
            if not multilevel:
                hits["sac", sac, "thecal_sac_compression" in stated] += 1
    for finding in ("bulge", "sac"):
        assert hits[finding, True, True] > 0.85 * sum(hits[finding, True, s] for s in (True, False))
        assert hits[finding, False, False] > 0.9 * sum(
            hits[finding, False, s] for s in (True, False)
        )


def test_sides_in_words_are_the_true_sides(written):
    checked = 0
    for patient, report in written:
        protruding = [level for level in patient.levels if level.protrusion_mm > 3.5]
        if len(protruding) != 1 or "disc_protrusion" not in report.findings:
            continue
        if report.findings["disc_protrusion"] != "present":
            continue
        focal = re.findall(r"(Lt|left|Rt|right)\W+p\w+", report.text, re.IGNORECASE)
        words = {{"l": "left", "r": "right"}[word[0].lower()] for word in focal}
        if protruding[0].side == "central":
            assert not words
        else:
            assert words == {protruding[0].side}
        checked += 1
    assert checked > 40


def test_easy_reports_state_every_lesion():
    for number in range(1, 80):
        patient = draw_patient(2, number, 0.0)
        report = write_report(patient)
        if not report.text or "ultilevel" in report.text:
            continue
        for level in patient.levels:
            stated = report.levels.get(level.name, [])
            assert ("disc_bulge" in stated) == (level.bulge_mm >= BULGE_MM)


def test_muscle_spasm_leaves_the_pictures_alone(written):
    patient, _ = written[0]
    other = dataclasses.replace(patient, muscle_spasm=not patient.muscle_spasm)
    said = [write_report(p).findings.get("muscle_spasm") for p in (patient, other)]
    assert set(said) == {"present", None}


def test_statements_add_up():
    report = Report("")
    report.say("absent", "disc_bulge", "canal_stenosis")
    report.say("uncertain", "annular_tear", levels=["L5-S1"])
    report.say("present", "disc_bulge", "muscle_spasm", levels=["L5-S1", "L4-L5"])
    report.say("absent", "disc_bulge")
    ordered = report.in_order()
    assert ordered.findings == {
        "disc_bulge": "present",
        "canal_stenosis": "absent",
        "annular_tear": "uncertain",
        "muscle_spasm": "present",
    }
    assert list(ordered.findings) == [
        "disc_bulge",
        "canal_stenosis",
        "annular_tear",
        "muscle_spasm",
    ]
    assert ordered.levels == {"L4-L5": ["disc_bulge"], "L5-S1": ["disc_bulge"]}


def test_no_sentence_is_taken_from_the_published_notes(real_data, written):
    def sentences(text):
        pieces = (re.findall("[a-z0-9]+", s.lower()) for s in re.split(r"[\n.]|//+", text))
        return {" ".join(words) for words in pieces if len(words) >= 4}

    sheet = openpyxl.load_workbook(real_data / "Radiologists Report.xlsx")["Sheet1"]
    published = set()
    for _, note in sheet.iter_rows(min_row=2, max_col=2, values_only=True):
        published |= sentences(str(note or ""))
    assert len(published) > 500
    for _, report in written:
        assert not sentences(report.text) & published
