"""Files of findings, as people and programs write them: read strictly."""

import json

import pytest

from data_prep.build import build
from data_prep.label_reports import labelling
from data_prep.records import labels
from data_prep.records.findings import FINDINGS
from data_prep.records.levels import disc_named
from data_prep.records.pairing import Subject
from data_prep.sources import mendeley
from tests import data_prep_cohort as cohort

BULGE = FINDINGS.index("disc_bulge")
EMPTY = '{"id": 3, "findings": {}}'


def read(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    found = labels.read_findings(path, patient_key=mendeley.patient_key)
    return {line.subject.patient: line.codes for line in found}


def test_findings_become_codes_of_the_patient_and_of_each_level(tmp_path):
    row = {
        "id": 7,
        "findings": {
            "disc_bulge": "present",
            "disc_protrusion": "present",
            "disc_extrusion": "absent",
            "annular_tear": "uncertain",
            "muscle_spasm": "present",
        },
        "levels": {"L4-L5": ["disc_bulge"], "L1-L2": ["disc_bulge"]},
    }
    findings = read(tmp_path / "findings.jsonl", json.dumps(row), "")["0007"]
    assert findings.patient == (1, 1, 2, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 1, 0, 0)
    # The protrusion is stated without a level and the tear is hedged: either may be at any level.
    assert findings.levels["L4-L5"] == (1, 3, 2, 0, 0, 0, 0, 3)
    assert findings.levels["L5-S1"] == (0, 3, 2, 0, 0, 0, 0, 3)


@pytest.mark.parametrize(
    "level", ["L4-L5", "L4/5", "l4 - l5", "L45", "L4L5", "4/5", "L4_L5", "L4\u20135"]
)
def test_levels_in_any_spelling(level, tmp_path):
    row = {"id": 1, "findings": {"disc_bulge": " Present"}, "levels": {level: ["disc_bulge"]}}
    findings = read(tmp_path / "f.jsonl", json.dumps(row))["0001"]
    at_level = {name: codes[BULGE] for name, codes in findings.levels.items()}
    assert at_level == {"L3-L4": 0, "L4-L5": 1, "L5-S1": 0}


def test_a_level_in_two_spellings_is_one(tmp_path):
    row = {
        "id": 1,
        "findings": {"disc_bulge": "present", "annular_tear": "present"},
        "levels": {"L5S1": ["disc_bulge"], "l5/s1": ["annular_tear"]},
    }
    found = read(tmp_path / "f.jsonl", json.dumps(row))["0001"]
    assert found.levels["L5-S1"] == (1, 0, 0, 0, 0, 0, 0, 1)


@pytest.mark.parametrize(
    ("text", "disc"),
    [
        ("T12/L1", "T12-L1"), ("Th11-12", "T11-T12"), ("L5-1", "L5-S1"), ("5/S1", "L5-S1"),
        ("L1/2", "L1-L2"), ("L6-S1", "L6-S1"), ("L5/6", "L5-L6"), ("T12", None), ("L4", None),
        ("L4-S1", None), ("L5-L4", None), ("L3-L4-L5", None), ("", None), ("2020-05-04", None),
    ],
)  # fmt: skip
def test_names_of_discs(text, disc):
    assert disc_named(text) == disc


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("PRESENT", 1), ("Positive", 1), ("absent ", 2), ("negative", 2), ("Uncertain", 3),
        ("not_mentioned", 0), ("Not mentioned", 0),
    ],
)  # fmt: skip
def test_statuses_in_any_case(status, code, tmp_path):
    row = {"id": 1, "findings": {"disc_bulge": status}}
    assert read(tmp_path / "f.jsonl", json.dumps(row))["0001"].patient[BULGE] == code


def test_a_finding_at_a_level_is_the_patients(tmp_path):
    row = {"id": 1, "findings": {}, "levels": {"L1-L2": ["disc_bulge"]}}
    assert read(tmp_path / "f.jsonl", json.dumps(row))["0001"].patient[BULGE] == 1


@pytest.mark.parametrize("number", ["12", "12.0", "1.2e1", '"12"', '"0012"', '"12.0"'])
def test_ids_as_programs_write_them(number, tmp_path):
    line = f'{{"id": {number}, "findings": {{}}}}'
    assert set(read(tmp_path / "f.jsonl", "\ufeff" + line)) == {"0012"}


def a_line(findings: str, levels: str = "{}", **fields: str) -> str:
    written = {"id": "1", "findings": findings, "levels": levels, **fields}
    return "{" + ", ".join(f'"{name}": {value}' for name, value in written.items()) + "}"


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "no JSON"),
        ("[]", 'no object with "id" and "findings"'),
        ('{"id": 1}', 'no object with "id" and "findings"'),
        (a_line("[]"), "findings is no object"),
        (a_line('{"disc_bulge": "maybe"}'), "findings: disc_bulge is none of not_mentioned,"),
        (a_line('{"disc_bulge": 1}'), "findings: disc_bulge is none of not_mentioned,"),
        (a_line('{"disc_bulge": false}'), "findings: disc_bulge is none of not_mentioned,"),
        (a_line('{"bulge": "present"}'), "findings: a finding that is none of disc_bulge,"),
        (a_line("{}", '{"L4-L5": ["bulge"]}'), "levels: a finding that is none of disc_bulge,"),
        (a_line("{}", '{"L4-L5": "disc_bulge"}'), "levels: L4-L5 has no list of findings"),
        (a_line("{}", '{"L4": ["disc_bulge"]}'), "levels: a level that is no disc"),
        (a_line("{}", level='{"L4-L5": []}'), "a field called almost like id, findings or levels"),
        (
            a_line('{"disc_bulge": "absent"}', '{"L4/5": ["disc_bulge"]}'),
            "disc_bulge is absent in findings, yet listed at L4-L5",
        ),
        (
            a_line('{"disc_bulge": "uncertain"}', '{"L4/5": ["disc_bulge"]}'),
            "disc_bulge is uncertain in findings, yet listed at L4-L5",
        ),
        (a_line('{"disc_bulge": "absent", "disc_bulge": "present"}'), "a name twice in one object"),
        ('{"id": 1, "id": 2, "findings": {}}', "a name twice in one object"),
        (a_line("{}", id="null"), "id: neither a text nor a whole number"),
        (a_line("{}", id='"nan"'), "id: neither a text nor a whole number"),
        (a_line("{}", id="true"), "id: neither a text nor a whole number"),
        (a_line("{}", id="1.5"), "id: neither a text nor a whole number"),
    ],
)
def test_a_bad_line_is_named_with_its_field(line, why, tmp_path):
    with pytest.raises(ValueError, match="line 2 is not a findings object: correct it") as caught:
        read(tmp_path / "f.jsonl", EMPTY, line)
    assert f"({why}" in str(caught.value)


@pytest.mark.parametrize("again", ["3", "3.0", '"0003"'])
def test_a_patient_labelled_twice_is_named(again, tmp_path):
    with pytest.raises(ValueError, match="line 3 has no id or one seen before"):
        read(tmp_path / "f.jsonl", EMPTY, "", a_line("{}", id=again))


def test_line_ends_within_texts_end_no_line(tmp_path):
    line = a_line("{}", remark='"a\u2028b\u0085c"')
    assert set(read(tmp_path / "f.jsonl", line)) == {"0001"}


def test_another_encoding_is_named(tmp_path):
    (tmp_path / "f.jsonl").write_text(EMPTY, encoding="utf-16")
    with pytest.raises(ValueError, match=r"f.jsonl is not in UTF-8: save it again"):
        labels.read_findings(tmp_path / "f.jsonl", patient_key=mendeley.patient_key)


def test_labels_to_compare_with_are_read_alike(tmp_path):
    row = {"id": 7.0, "findings": {"disc_bulge": "Present"}, "levels": {"L4/5": ["disc_bulge"]}}
    (tmp_path / "f.jsonl").write_text(json.dumps(row), encoding="utf-8-sig")
    assert labelling.read_truth(tmp_path / "f.jsonl") == [
        (
            Subject("7"),
            {"findings": {"disc_bulge": "present"}, "levels": {"L4-L5": ["disc_bulge"]}},
        )
    ]


def test_reports_in_another_language_stay_without_findings_and_are_counted(tmp_path):
    cohort.write_slices(tmp_path, 12, 16, sequences=("T1",))
    rows = [f'{patient},"{cohort.report_text(patient)}"' for patient in range(1, 10)]
    german = "Kein Nachweis eines Bandscheibenvorfalls in Höhe L4-L5, Fall"
    rows += [f'{patient},"{german} {patient}."' for patient in range(10, 13)]
    table = "\n".join(["Patient ID,Clinician's Notes", *rows])
    (tmp_path / "reports.csv").write_text(table)
    manifest = build(tmp_path, tmp_path / "reports.csv", tmp_path / "set", size_px=16)
    assert manifest["findings_source"] == (
        "read from the reports for 9 of 12 patients; the other reports are not in English"
    )
