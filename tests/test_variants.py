"""Variants of reports: what is changed, what stays, and that the labeller reads just that."""

import collections
import re

import pytest

from data_prep.label_reports.labelling import patient_key
from data_prep.label_reports.reader import Reader
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.reports import write_report
from data_prep.records.findings import FINDINGS
from data_prep.sources import mendeley
from data_prep.text.reports import read_reports
from data_prep.variants.reports import KINDS, coverage, variants_of
from data_prep.variants.variant import Change
from data_prep.variants.wordings import FILE, Wordings

SIDES = re.compile(r"(?i)\b(left|right|lt|rt)\b")

# kind, finding, report, variant
CASES = [
    ("negated", "disc_protrusion", "No disc protrusion.", "Disc protrusion."),
    (
        "negated",
        "disc_protrusion",
        "Disc protrusion at L4-L5 compressing the thecal sac.",
        "No disc protrusion or thecal sac compression at L4-L5.",
    ),
    (
        "negated",
        "thecal_sac_compression",
        "Disc protrusion at L4-L5 compressing the thecal sac.",
        "Disc protrusion at L4-L5, with no thecal sac compression.",
    ),
    (
        "negated",
        "thecal_sac_compression",
        "L4-L5: Diffuse disc bulge, mildly compressing the thecal sac and both nerve roots.",
        "L4-L5: Diffuse disc bulge, mildly compressing both nerve roots, with no thecal sac "
        "compression.",
    ),
    ("negated", "muscle_spasm", "- feature of muscle spasm.", "- no feature of muscle spasm."),
    ("negated", "canal_stenosis", "The spinal canal is adequate.", "The spinal canal is narrow."),
    (
        "negated",
        "nerve_root_compression",
        "No significant thecal sac or nerve root compression noted.",
        "Nerve root compression noted, with no thecal sac compression.",
    ),
    (
        "negated",
        "disc_bulge",
        "Disc bulge with annular tear noted at L4/L5 level, compressing the thecal sac.",
        "No disc bulge or thecal sac compression noted at L4/L5 level. Annular tear noted at L4/L5 "
        "level.",
    ),
    (
        "omitted",
        "annular_tear",
        "Disc bulge with annular tear noted at L4/L5 level.",
        "Disc bulge noted at L4/L5 level.",
    ),
    (
        "omitted",
        "nerve_root_compression",
        "Disc bulge at L4-L5, compressing the thecal sac and encroaching exit canals.\n"
        "No significant thecal sac or nerve root compression noted.",
        "Disc bulge at L4-L5, compressing the thecal sac.\n"
        "No significant thecal sac compression noted.",
    ),
    ("omitted", "disc_bulge", "1. Disc bulge at L4-5.\n2. Muscle spasm.", "2. Muscle spasm."),
    (
        "omitted",
        "disc_bulge",
        "L3-4: disc bulge is noted. // L4-5: disc protrusion is noted.",
        "L4-5: disc protrusion is noted.",
    ),
    (
        "level",
        "disc_protrusion",
        "L4/5: left disc protrusion compressing the left L5 nerve root.",
        "L5/S1: left disc protrusion compressing the left S1 nerve root.",
    ),
    (
        "level",
        "disc_bulge",
        "Disc bulges at L4-L5 & L5-S1 levels.",
        "Disc bulges at L3-L4 & L5-S1 levels.",
    ),
    (
        "side",
        "disc_protrusion",
        "LEFT foraminal disc protrusion at L4-L5 compressing Lt root, both canals free.",
        "RIGHT foraminal disc protrusion at L4-L5 compressing Rt root, both canals free.",
    ),
]


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.parametrize(("kind", "finding", "report", "variant"), CASES)
def test_what_is_changed(kind, finding, report, variant):
    made = [v.text for v in variants_of(report) if (v.kind, v.finding) == (kind, finding)]
    assert variant in made


def test_changes_say_what_is_read():
    by_kind = {v.kind: v for v in variants_of("Muscle spasm.\nLt disc protrusion at L4-L5.")[2:]}
    assert by_kind["level"].changed == (Change("disc_protrusion", "L4-L5", "L4-L5", "L5-S1"),)
    assert by_kind["side"].changed == (Change("disc_protrusion", "L4-L5", "left", "right"),)
    denied = variants_of("Muscle spasm.\nLt disc protrusion at L4-L5.")[1]
    assert denied.changed == (Change("disc_protrusion", "L4-L5", "present", "absent"),)


@pytest.mark.parametrize(
    ("kind", "finding", "report"),
    [
        # The herniation that is denied beside it is what a protrusion is.
        ("negated", "disc_protrusion", "No disc protrusion or herniation seen."),
        # Its neighbours are spoken of.
        ("level", "disc_bulge", "Disc bulges at L3-L4, L4-L5 and L5-S1."),
        # Exchanged, it would say the same.
        ("side", "disc_protrusion", "Left and right disc protrusion at L4-L5."),
        # What compresses would be gone.
        ("omitted", "disc_bulge", "L4-L5:\nDisc bulge noted.\nCompressing the thecal sac."),
        # It is stated again.
        ("negated", "muscle_spasm", "Muscle spasm.\nMuscle spasm."),
        # Nothing would be left.
        ("omitted", "muscle_spasm", "Muscle spasm."),
    ],
)
def test_what_would_be_wrong_is_not_made(kind, finding, report):
    assert (kind, finding) not in {(v.kind, v.finding) for v in variants_of(report)}


def test_reports_that_say_nothing_have_none():
    assert (
        variants_of("")
        == variants_of("Tarlov cyst.")
        == variants_of("Kein Bandscheibenvorfall.")
        == []
    )


def test_phantom_reports_have_variants_of_each_kind(reader):
    texts = [write_report(draw_patient(7, number, 0.5)).text for number in range(1, 41)]
    counts = coverage(texts)
    assert counts.reports == 40
    assert all(counts.covered[kind] >= 5 for kind in KINDS)
    for text in texts:
        check(reader, text)


def test_real_reports(real_data, reader):
    reports, _ = read_reports(
        real_data / "Radiologists Report.xlsx",
        patient_column=mendeley.PATIENT_COLUMN,
        report_column=mendeley.REPORT_COLUMN,
        patient_key=patient_key,
    )
    covered: collections.Counter[str] = collections.Counter()
    for text in reports.values():
        covered.update(check(reader, text))
    assert covered["negated"] >= 390
    assert covered["omitted"] >= 365
    assert covered["level"] >= 275
    assert covered["side"] >= 120


def check(reader: Reader, text: str) -> set[str]:
    """Reads the variants of a report again; which kinds there are."""
    before = reader.read(text)
    made = variants_of(text)
    assert len({v.text for v in made} | {text}) == len(made) + 1
    for variant in made:
        after = reader.read(variant.text)
        touched = {change.finding for change in variant.changed}
        for finding in set(FINDINGS) - touched:
            assert after.findings.get(finding) == before.findings.get(finding), variant
            assert at(after, finding) == at(before, finding), variant
        if variant.kind == "omitted":
            assert variant.finding not in after.findings, variant
        if variant.kind == "side":
            assert (after.findings, after.levels) == (before.findings, before.levels), variant
            assert SIDES.sub("", variant.text) == SIDES.sub("", text), variant
        for change in variant.changed:
            if variant.kind == "level":
                assert change.finding not in after.levels.get(change.before, ()), variant
                levels = {
                    at for e in after.evidence if e.finding == change.finding for at in e.levels
                }
                assert change.after in levels, variant
            if variant.kind == "negated" and change.after == "absent":
                assert "absent" in {e.status for e in after.evidence if e.finding == change.finding}
                assert change.finding not in after.levels.get(change.level, ()), variant
            if variant.kind == "negated" and change.after == "present":
                assert after.findings[change.finding] == "present", variant
    return {v.kind for v in made}


def at(reading, finding: str) -> set[str]:
    return {level for level, names in reading.levels.items() if finding in names}


def test_wordings_of_a_clinician_are_checked(tmp_path):
    good = FILE.read_text()
    path = tmp_path / "wordings.toml"
    for wrong, message in (
        (good.replace("[entails]", "[entailed]"), "no entry 'entails'"),
        (good.replace("disc_bulge =", "disk_bulge ="), "no entry 'disc_bulge'"),
        (good.replace('canal_stenosis = "narrow"', 'canal = "narrow"'), "unknown finding 'canal'"),
        ("[", "not a TOML file"),
    ):
        path.write_text(wrong)
        with pytest.raises(ValueError, match=message):
            Wordings(path)
    with pytest.raises(FileNotFoundError):
        Wordings(tmp_path / "none.toml")
