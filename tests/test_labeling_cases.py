"""Report labels: invented sentences with labels by hand, and what must hold for any text."""

import json
import pathlib
import random
import sys

import pytest

from data_prep.label_reports.reader import Reader
from data_prep.records.findings import FINDINGS, LOCATED_FINDINGS, STATUS

CASES = [
    json.loads(line)
    for line in pathlib.Path(__file__).with_name("labeling_cases.jsonl").read_text().splitlines()
]
NORMAL_LINES = (
    "The conus ends at L1.",
    "Paravertebral soft tissues are unremarkable.",
    "No abnormality of the visualised kidneys.",
)
INDEPENDENT_LINES = (
    "L3-L4: disc bulge indenting the thecal sac.",
    "L5-S1: left foraminal protrusion compressing the left L5 nerve root.",
    "Schmorl's nodes at L1 and L2 vertebrae.",
    "No spondylolisthesis or fracture.",
    "Possible hemangioma of the L3 vertebral body.",
    "L4-L5: no disc herniation.",
)


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["text"][:50])
def test_invented_reports(reader, case):
    reading = reader.read(case["text"])
    assert reading.findings == case["findings"]
    assert reading.levels == case["levels"]


@pytest.mark.parametrize("line", NORMAL_LINES)
def test_a_normal_sentence_on_another_line_changes_nothing(reader, line):
    changed = [
        case["text"]
        for case in CASES
        for text in (f"{case['text']}\n{line}",)
        if reader.read(text).findings != case["findings"]
        # Behind a heading of another region, a line is about that region.
        and "knee" not in case["text"]
    ]
    assert not changed


def test_the_order_of_independent_lines_does_not_matter(reader):
    expected = reader.read("\n".join(INDEPENDENT_LINES))
    assert expected.levels == {
        "L3-L4": ["disc_bulge", "thecal_sac_compression"],
        "L5-S1": ["disc_protrusion", "nerve_root_compression"],
    }
    assert expected.findings == {
        "disc_bulge": "present",
        "disc_protrusion": "present",
        "disc_herniation": "absent",
        "thecal_sac_compression": "present",
        "nerve_root_compression": "present",
        "schmorl_node": "present",
        "spondylolisthesis": "absent",
        "fracture": "absent",
        "marrow_lesion": "uncertain",
    }
    shuffler = random.Random(0)
    for _ in range(10):
        lines = shuffler.sample(INDEPENDENT_LINES, len(INDEPENDENT_LINES))
        reading = reader.read("\n".join(lines))
        assert (reading.findings, reading.levels) == (expected.findings, expected.levels)


def test_case_line_ends_and_blank_lines_do_not_matter(reader):
    for case in CASES:
        for text in (
            case["text"].lower(),
            case["text"].replace("\n", "\r\n\r\n"),
            f"\n\n  {case['text']}  \n",
        ):
            reading = reader.read(text)
            assert (reading.findings, reading.levels) == (case["findings"], case["levels"]), text


def test_slips_of_one_letter_in_long_words_do_not_matter(reader):
    text = "Diffuse disc {} at L4-L5 with {} of the {} sac and {} canal {}."
    words = ("protrusion", "compression", "thecal", "spinal", "stenosis")
    expected = reader.read(text.format(*words))
    assert len(expected.findings) == 3
    for at in range(1, 6):
        slipped = [word[:at] + word[at + 1 :] if len(word) > 6 else word for word in words]
        assert reader.read(text.format(*slipped)).findings == expected.findings, slipped


def test_every_statement_says_what_decided(reader):
    reading = reader.read("L4-5: bulge.\nNo evidence of canal stenosis at L4-5.")
    bulge, stenosis = reading.evidence
    assert (bulge.finding, bulge.levels, bulge.text) == ("disc_bulge", ("L4-L5",), "L4-5: bulge.")
    assert bulge.rule == "bulg*"
    assert stenosis.text == "No evidence of canal stenosis at L4-5."
    assert "no evidence of" in stenosis.rule


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n\t ",
        ".",
        "?",
        "((((",
        "L4",
        "L4-",
        "-/-/-",
        "\ufeff\u200b",
        "𝐋𝟒-𝐋𝟓",
        "<br><br>",
        "@ @",
    ],
)
def test_odd_texts_say_nothing(reader, text):
    assert reader.read(text).evidence == ()


def test_unicode_look_alikes(reader):
    for text in (
        "disc bulge at L4–L5",
        "ｄｉｓｃ　ｂｕｌｇｅ at L4‑L5",
        "disc bulge at L4−5",
        "disc\u00adbulge at L4/5",
    ):
        assert reader.read(text).levels == {"L4-L5": ["disc_bulge"]}, text


def test_labels_stay_within_the_schema(reader):
    generator = random.Random(1)
    words = " ".join(case["text"] for case in CASES).split(" ")
    for _ in range(60):
        reading = reader.read(" ".join(generator.choices(words, k=60)))
        assert set(reading.findings) <= set(FINDINGS)
        assert set(reading.findings.values()) <= STATUS.keys() - {"not_mentioned"}
        for names in reading.levels.values():
            assert names
            assert set(names) <= set(LOCATED_FINDINGS)
            assert all(reading.findings[name] == "present" for name in names)


@pytest.mark.parametrize(
    "unit",
    [
        "thecal sac compress nerve root ",
        "no disc bulge, ",
        "4-5/5-1,L3-4/ ",
        "((no ) or ",
        "<p <br &amp;",
        "loss of the normal ",
        "no,bulge,L4/",
        "the\n",
        "a.b.no.",
        "more more, mainly at L4-5 where ",
        "L4-5: findings: ",
    ],
)
def test_the_work_grows_no_faster_than_the_text(reader, unit):
    """Counts calls instead of seconds: twice the text, twice the work."""
    work = [calls(reader, (unit * (length // len(unit) + 1))[:length]) for length in LENGTHS]
    assert work[1] < 2.3 * work[0] + 1000


LENGTHS = (1500, 3000)


def calls(reader: Reader, text: str) -> int:
    count = 0

    def tally(frame, event, argument):
        nonlocal count
        count += 1

    sys.setprofile(tally)
    try:
        reader.read(text)
    finally:
        sys.setprofile(None)
    return count
