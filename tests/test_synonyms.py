"""Synonyms: no replacement changes what a report says; tables with errors."""

import numpy as np
import pytest

from data_prep.label_reports.reader import Reader
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.reports import write_report
from data_prep.records.findings import LEVEL_FINDINGS
from data_prep.sources import mendeley
from data_prep.text.reports import read_reports
from lumbarclip_jax.data.sentences import sentences
from lumbarclip_jax.data.synonyms import FILE, Synonyms

CARRIERS = (
    "{}.",
    "No {} at L4-L5.",
    "L4-L5: disc bulge {} the thecal sac.",
    "Disc bulge {} at L5-S1, no fracture.",
    "No disc herniation {}.",
    "Thecal sac compression {} at L3-L4.",
    "No fracture, {} disc bulge at L4-L5.",
    "L3-L4: {} is seen. No annular tear.",
    "Mild {} at L2-L3.\nNo significant thecal sac compression noted.",
)
TITLES = (
    "{}\nDisc bulge at L4-L5.",
    "{} :\nNo disc herniation.",
    "No fracture.\n{}:\nBulge at L4-5",
)
PROTECTED = '[protected]\nnegation = "no not"\n'


class EachInTurn:
    """Stands in for a generator: every phrase is replaced, by its `turn`-th synonym."""

    def __init__(self, turn):
        self.turn = turn

    def random(self):
        return 0.0

    def integers(self, count):
        return self.turn % count


@pytest.fixture(scope="module")
def synonyms() -> Synonyms:
    return Synonyms()


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


def said(reader, text):
    reading = reader.read(text)
    return reading.findings, reading.levels


def altered(reader, synonyms, texts):
    """Texts that say something else with some phrases replaced; every replacement is tried."""
    turns = range(max(map(len, synonyms.groups)) - 1)
    found = []
    for text in texts:
        before = said(reader, text)
        others = {synonyms.replaced(text, 1.0, EachInTurn(turn)) for turn in turns}
        found += [(text, other) for other in others if said(reader, other) != before]
    return found


def is_read_well(reader, report):
    findings, levels = said(reader, report.text)
    of_discs = {
        level: [name for name in names if name in LEVEL_FINDINGS] for level, names in levels.items()
    }
    known = {level: names for level, names in of_discs.items() if names}
    return (findings, known) == (report.findings, report.levels)


@pytest.mark.parametrize("group", Synonyms().groups, ids=lambda group: group[0])
def test_the_phrases_of_a_group_say_the_same_in_carrier_sentences(reader, group):
    # "LSS" is a stenosis where it is no part of the name of the study.
    for carrier in TITLES if "MRI" in group[0] else CARRIERS:
        first, *others = (said(reader, carrier.format(phrase)) for phrase in group)
        assert others == [first] * len(others), carrier


def test_no_replacement_changes_what_a_phantom_report_says(reader, synonyms):
    reports = [write_report(draw_patient(11, number, 0.5)) for number in range(1, 81)]
    # Some are misread for a typing slip, and otherwise in other words.
    texts = [report.text for report in reports if report.text and is_read_well(reader, report)]
    assert len(texts) > 60
    assert all(map(synonyms.count, texts))
    assert not altered(reader, synonyms, texts)


def test_no_replacement_changes_what_a_published_report_says(real_data, reader, synonyms):
    reports, _ = read_reports(
        real_data / "Radiologists Report.xlsx",
        patient_column=mendeley.PATIENT_COLUMN,
        report_column=mendeley.REPORT_COLUMN,
        patient_key=lambda cell: cell,
    )
    texts = list(dict.fromkeys(reports.values()))
    assert len(texts) > 300
    assert not altered(reader, synonyms, texts)
    statements = [statement for text in texts for statement in sentences(text)]
    assert np.mean([synonyms.count(text) > 0 for text in texts]) > 0.99
    assert np.mean([synonyms.count(statement) > 0 for statement in statements]) > 0.9


@pytest.fixture
def table(tmp_path):
    def write(groups: str, protected: str = PROTECTED):
        path = tmp_path / "table.toml"
        path.write_text(f"groups = {groups}\n{protected}")
        return path

    return write


def test_the_longest_phrase_is_replaced_and_the_first_letter_keeps_its_case(table):
    synonyms = Synonyms(table('[["sac", "MRI bag"], ["thecal sac", "theca"], ["left", "Lt"]]'))
    for text, expected in (
        ("thecal sac", "theca"),
        ("THECAL  SAC and Sac", "Theca and MRI bag"),
        ("-theca, sac-like, cul-de-sac, sacs", "-thecal sac, sac-like, cul-de-sac, sacs"),
        ("sac/theca (sac)", "MRI bag/thecal sac (MRI bag)"),
        ("thecal\nsac", "thecal\nMRI bag"),
        ("Lt. foraminal, to the Lt. No tear", "Lt. foraminal, to the Left. No tear"),
        ("the sac's", "the sac's"),
        ("", ""),
    ):
        assert synonyms.replaced(text, 1.0, np.random.default_rng(0)) == expected
        assert synonyms.replaced(text, 0.0, np.random.default_rng(0)) == text


def test_half_of_the_phrases_are_replaced_each_by_any_other_of_its_group(synonyms):
    text, rng = "Mild disc bulge noted. " * 2000, np.random.default_rng(1)
    assert synonyms.count(text) == 6000
    words = synonyms.replaced(text, 0.5, rng).lower()
    assert words.count("noted") == pytest.approx(1000, abs=80)
    for other in ("seen", "identified", "observed"):
        assert words.count(other) == pytest.approx(1000 / 3, abs=60)
    assert words.count("slight") == pytest.approx(1000, abs=80)


@pytest.mark.parametrize(
    ("groups", "protected", "sentence"),
    [
        ('[["a", "b"], ["c", "B"]]', PROTECTED, "group 2: the phrase 'B' is in group 1 too"),
        ('[["a", "b", "A"]]', PROTECTED, "group 1: the phrase 'a' is there twice: delete one"),
        ('[["a", "b"], []]', PROTECTED, "group 2, .*: give it two phrases or more"),
        ('[["a"]]', PROTECTED, "group 1, .*: give it two phrases or more"),
        ('[["a", 1]]', PROTECTED, "group 1 is .*: make it a list of phrases"),
        ('["a"]', PROTECTED, "group 1 is 'a': make it a list of phrases"),
        ('[["a", " "]]', PROTECTED, "group 1: the phrase ' ' does not start and end with a letter"),
        ('[["a", "Lt."]]', PROTECTED, "the phrase 'Lt.' does not start and end with a letter"),
        ('[["a", "no a"]]', PROTECTED, "group 1: 'no a' denies and 'a' does not"),
        ("[]", PROTECTED, "has no group"),
        ("3", PROTECTED, "has no groups"),
        ('[["a", "b"]]', "", "has no protected"),
        ('[["a", "b"]]', "[protected]\n", "protected.negation is None"),
        ('[["a", "b"]]', '[protected]\nnegation = ["no"]\n', "protected.negation is .'no'.: make"),
        ('[["a", "b"]]', '[protected]\nnegation = "No"\n', "protected.negation: 'No' is no word"),
        ('[["a", "b"]', PROTECTED, "is not a TOML file .*line 2"),
    ],
)
def test_tables_with_errors(table, groups, protected, sentence):
    path = table(groups, protected)
    with pytest.raises(ValueError, match=rf"^{path}.*{sentence}"):
        Synonyms(path)


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no table of synonyms .*none\.toml: correct its"):
        Synonyms(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(FILE.read_bytes() + b"# \xe9")
    with pytest.raises(ValueError, match=r"latin\.toml is not a TOML file"):
        Synonyms(tmp_path / "latin.toml")
