"""The command that labels reports, as a person types it, and how agreement is measured."""

import csv
import json
import subprocess
import sys

import pytest

from data_prep.label_reports import compare, labelling
from data_prep.records import labels
from data_prep.text.reports import report_group

ROWS = [
    ("Patient ID", "Clinician's Notes"),
    ("1", "L4-5: disc bulge indenting the thecal sac.\nNo canal stenosis."),
    ("2", "Possible annular tear at L5-S1."),
    ("007", "Unremarkable study."),
    ("3", ""),
    ("", "Disc bulge."),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")
    with (folder / "reports.csv").open("w", newline="") as file:
        csv.writer(file).writerows(ROWS)
    truth = [
        {"id": 1, "findings": {"disc_bulge": "present", "canal_stenosis": "present"}, "levels": {}},
        {"id": 9, "findings": {"fracture": "present"}, "levels": {}},
    ]
    (folder / "truth.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in truth))
    (folder / "broken.jsonl").write_text('{"id": 1}\n')
    return folder


def command(*arguments: str):
    return subprocess.run(
        [sys.executable, "-m", "data_prep.label_reports", *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture(scope="module")
def run(folder):
    result = command(
        f"--reports={folder}/reports.csv",
        f"--out={folder}/findings.jsonl",
        f"--compare={folder}/truth.jsonl",
        "--explain",
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_file_is_what_the_build_reads(run, folder):
    lines = (folder / "findings.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {
            "id": 1,
            "report": report_group(ROWS[1][1]),
            "findings": {
                "disc_bulge": "present",
                "thecal_sac_compression": "present",
                "canal_stenosis": "absent",
            },
            "levels": {"L4-L5": ["disc_bulge", "thecal_sac_compression"]},
        },
        {
            "id": 2,
            "report": report_group(ROWS[2][1]),
            "findings": {"annular_tear": "uncertain"},
            "levels": {},
        },
        {"id": "007", "report": report_group(ROWS[3][1]), "findings": {}, "levels": {}},
    ]
    read = labels.read_findings(folder / "findings.jsonl", patient_key=lambda cell: cell)
    assert [line.subject.patient for line in read] == ["1", "2", "007"]
    assert {path.name for path in folder.iterdir()} >= {"findings.jsonl"}
    assert not list(folder.glob(".*"))


def test_every_finding_is_explained(run):
    assert (
        'patient 1\n  disc_bulge                  present   L4-L5\n      "L4-5: disc bulge' in run
    )
    assert '"Possible annular tear at L5-S1."  <- annular' in run
    assert "[possib*]" in run


def test_counts_are_printed(run):
    assert "3 reports read; nothing found in 1" in run
    assert "rows left out, the row has no report text: 1" in run
    assert "rows left out, the row has no usable patient id: 1" in run
    row = next(line for line in run.splitlines() if line.startswith("annular_tear"))
    assert row.split() == ["annular_tear", "0", "0", "1"]


def test_reports_in_other_languages_are_counted(tmp_path):
    rows = [
        ("1", "Bulge at L4-5."),
        ("2", "Keine Protrusion.\nStenose L3/4."),
        ("3", "Klinik und Praxis der Radiologie\nNo disc bulge."),
        ("4", "Pas de protrusion discale."),
    ]
    with (tmp_path / "reports.csv").open("w", newline="") as file:
        csv.writer(file).writerows([ROWS[0], *rows])
    findings = tmp_path / "findings.jsonl"
    lines = labelling.run(tmp_path / "reports.csv", out_file=findings, explain=True)
    printed = "\n".join(lines)
    assert (
        "2 reports are not in English and were left unlabelled; of the findings, lines 2, 4"
        in printed
    )
    assert "1 reports hold sentences in another language, which were not read" in printed
    assert "patient 2\n  not in English" in printed
    assert "Stenose" not in printed
    labelled = [json.loads(line)["findings"] for line in findings.read_text().splitlines()]
    assert labelled == [{"disc_bulge": "present"}, {}, {"disc_bulge": "absent"}, {}]


def test_disagreements_are_shown_with_their_words(run):
    assert "canal_stenosis is absent, in the labels present, the reverse\n" in run
    assert '"No canal stenosis."  <- canal + stenos* [no]' in run
    assert "disc_bulge at L4-L5 is present, in the labels not mentioned\n" in run
    assert "labels without one report that is theirs, left out: 1" in run
    assert "present taken for absent or the reverse: 1" in run


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "nothing to do: give --out=FILE, --compare=FILE or both"),
        ({"reports_file": "none.csv", "out_file": "x"}, "there is no file .*none.csv"),
        ({"out_file": "x", "report_column": "Text"}, "has no column 'Text'"),
        ({"truth_file": "none.jsonl"}, "correct --compare"),
        ({"truth_file": "broken.jsonl"}, "broken.jsonl line 1"),
        ({"out_file": "x", "rules_dir": "none"}, "there is no rule file"),
        ({"out_file": "no/where"}, "cannot be written"),
    ],
)
def test_mistakes(folder, options, sentence):
    paths = {name: folder / value for name, value in options.items() if not name.endswith("column")}
    columns = {name: value for name, value in options.items() if name.endswith("column")}
    reports = paths.pop("reports_file", folder / "reports.csv")
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        labelling.run(reports, **paths, **columns)


def test_a_mistake_on_the_command_line_is_one_sentence(folder):
    result = command(f"--reports={folder}/none.csv", "--out=x")
    assert result.returncode == 2
    assert result.stderr == f"error: there is no file {folder}/none.csv: correct --reports\n"


def test_help_names_every_option():
    text = command("--help").stdout
    for option in (
        "reports",
        "out",
        "patient_column",
        "report_column",
        "rules",
        "explain",
        "compare",
    ):
        assert f"--{'[no]' if option == 'explain' else ''}{option}" in text


def test_every_report_of_a_patient_is_labelled_and_compared(tmp_path):
    rows = [
        ("Patient ID", "Clinician's Notes"),
        ("1", "Disc bulge at L4-5."),
        ("1", "No disc bulge."),
        ("1", "no  disc bulge"),
        ("2", "Disc bulge."),
    ]
    with (tmp_path / "r.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    truth = [
        {"id": 1, "report": report_group(rows[2][1]), "findings": {"disc_bulge": "present"}},
        {"id": 1, "findings": {"disc_bulge": "present"}},
        {"id": 2, "findings": {"disc_bulge": "present"}},
    ]
    (tmp_path / "truth.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in truth))
    shown = "\n".join(
        labelling.run(
            tmp_path / "r.csv", out_file=tmp_path / "f.jsonl", truth_file=tmp_path / "truth.jsonl"
        )
    )
    found = [json.loads(line) for line in (tmp_path / "f.jsonl").read_text().splitlines()]
    assert [(line["id"], line["findings"]) for line in found] == [
        (1, {"disc_bulge": "present"}),
        (1, {"disc_bulge": "absent"}),
        (2, {"disc_bulge": "present"}),
    ]
    report = report_group(rows[2][1])
    assert f"patient 1 report {report}: disc_bulge is absent, in the labels present" in shown
    assert "labels without one report that is theirs, left out: 1" in shown


def test_agreement():
    true = {
        "a": {
            "findings": {"disc_bulge": "present", "fracture": "absent"},
            "levels": {"L4-L5": ["disc_bulge"]},
        },
        "b": {"findings": {"disc_bulge": "present"}, "levels": {}},
    }
    found = {
        "a": {
            "findings": {"disc_bulge": "present", "fracture": "present"},
            "levels": {"L5-S1": ["disc_bulge"]},
        },
        "c": {"findings": {"fracture": "present"}, "levels": {}},
    }
    result = compare.compare(found, true)
    assert (result.findings.right, result.findings.found, result.findings.true) == (1, 2, 3)
    assert result.findings.precision == 1 / 2
    assert result.findings.recall == 1 / 3
    assert (result.levels.right, result.levels.found, result.levels.true) == (0, 1, 1)
    assert result.by_finding["disc_bulge"].f1 == 2 / 3
    assert result.flips == 1
    assert [(d.patient, d.finding, d.level) for d in result.disagreements] == [
        ("a", "fracture", None),
        ("a", "disc_bulge", "L4-L5"),
        ("a", "disc_bulge", "L5-S1"),
        ("b", "disc_bulge", None),
    ]
