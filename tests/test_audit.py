"""The audit page: what it says, that it is safe to open, that it comes out the same."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import pytest

from data_prep.audit import page, write_audit
from data_prep.build import build
from data_prep.records.drops import Reason
from tests import data_prep_cohort as cohort


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("audit")
    cohort.write_slices(root, 12, 16, sequences=("T1",))
    cohort.write_reports(
        root / "reports.csv", 11, extra_rows=[(12, "Seen by Dr. Zorvane on 1.3.2016."), (13, "")]
    )
    cohort.write_labels(root / "grades.csv", root / "findings.jsonl", 12)
    build(
        root,
        root / "reports.csv",
        root / "set",
        grades_file=root / "grades.csv",
        findings_file=root / "findings.jsonl",
        split_shares="train=0.5,test=0.5",
        size_px=16,
    )
    return root / "set"


@pytest.fixture(scope="module")
def html(dataset):
    return write_audit(dataset).read_text(encoding="utf-8")


class Text(HTMLParser):
    """The words of a page, and its tags."""

    def __init__(self, html):
        super().__init__()
        self.words, self.tags = [], []
        self.feed(html[html.index("<body>") :])
        self.text = " ".join(" ".join(self.words).split())

    def handle_data(self, data):
        self.words.append(data)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))


def test_it_says_what_is_there(html):
    text = Text(html).text
    for statement in (
        "Patients 12 Images 36 Different reports 11 Left out 1 Checks no fault sound",
        "1 the row has no report text report_empty",
        "0 marked as having text burned into its pixels burned_in",
        "Identities were replaced by placeholders: date 1 name 1",
        # Every fourth patient has the boiler-plate report: 4 and 8.
        "12 reports, one a patient, 11 of them different",
        "2 patients share theirs with another. All were written by people.",
        "[name] 1",
        "Name and role Date Signature",
        "mendeley: ready PNG slices",
        "16 × 16 px of 0.6875 mm",
        "Doubtful ones were left out too.",
    ):
        assert statement in text, statement


def test_counts_of_labels_by_split(dataset, html):
    text = Text(html).text
    # Ten of the twelve have a protrusion, as no patient whose number 4 divides has: 4, 8, 12.
    assert re.search(r"disc protrusion \d+ % \d+ \d+ % \d+ 9 0 0", text)
    assert re.search(r"disc extrusion 0 % 0 0 % 0 0 12 0", text)
    assert re.search(r"L3-L4, T1 \d+ \d+ 12", text)
    manifest = json.loads((dataset / "manifest.json").read_text())
    for split, counts in manifest["splits"].items():
        assert f"{split} {counts['patients']} {counts['images']} {counts['report_groups']}" in text


def test_a_sheet_of_pictures_for_every_level(html):
    pictures = [attributes for tag, attributes in Text(html).tags if tag == "img"]
    assert len(pictures) == 3 * 12
    assert all(p["src"].startswith("data:image/png;base64,") for p in pictures)
    assert all(p["alt"] for p in pictures)


def test_nothing_is_loaded_and_nothing_runs(html):
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<link|<iframe|\son\w+=", html)
    assert "default-src 'none'" in html


def test_no_report_and_no_key_is_shown(dataset, html):
    assert "protrusion number" not in html
    assert "Zorvane" not in html
    assert dataset.with_name("set.key").read_text().strip() not in html
    assert json.loads((dataset / "manifest.json").read_text())["key_fingerprint"] in html


def test_it_comes_out_the_same_and_beside_the_data_set(dataset, html):
    before = sorted(dataset.iterdir())
    assert write_audit(dataset).read_text(encoding="utf-8") == html
    assert sorted(dataset.iterdir()) == before
    assert dataset.with_name("set.audit.html").is_file()


def test_what_a_manifest_says_is_escaped(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "set")
    path = tmp_path / "set" / "manifest.json"
    manifest = json.loads(path.read_text())
    attack = "<img src=x onerror=alert(1)>\"'&"
    manifest |= {"name": attack, "source": attack, "findings_source": attack}
    path.write_text(json.dumps(manifest))
    html = write_audit(tmp_path / "set", pictures=0).read_text(encoding="utf-8")
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html


def test_a_data_set_with_a_fault_is_not_released(dataset, tmp_path):
    shutil.copytree(dataset, tmp_path / "set")
    shard = next((tmp_path / "set").glob("*.array_record-*"))
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    text = Text(write_audit(tmp_path / "set").read_text(encoding="utf-8")).text
    assert "do not release" in text
    assert shard.name in text
    assert "no fault sound" not in text


def test_every_reason_to_protect_a_person_is_a_reason():
    assert set(page.PRIVACY_REASONS) <= set(Reason)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere"], "there is no folder"),
        (["SET", "--pictures=-1"], "--pictures is -1: choose a number"),
    ],
)
def test_bad_input_is_one_sentence(arguments, sentence, dataset):
    arguments = [str(dataset) if a == "SET" else a for a in arguments]
    command = [sys.executable, "-m", "data_prep.audit", *arguments]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert sentence in run.stderr
    assert run.stderr.count("\n") == 1


def test_the_command_writes_the_page(dataset, tmp_path):
    command = [
        sys.executable,
        "-m",
        "data_prep.audit",
        str(dataset),
        f"--out={tmp_path / 'a.html'}",
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout == f"the audit page is {tmp_path / 'a.html'}\n"
    assert (tmp_path / "a.html").is_file()
