"""Report labels, sentence by sentence: every kind of wording that denies, doubts or excepts."""

import pathlib
import tomllib

import pytest

from data_prep.label_reports.reader import Reader

KINDS = tomllib.loads(pathlib.Path(__file__).with_name("labeling_sentences.toml").read_text())
SENTENCES = [
    pytest.param(sentence, said, id=f"{kind}: {sentence}")
    for kind, sentences in KINDS.items()
    for sentence, said in sentences.items()
]
STATUSES = {"no": "absent", "?": "uncertain"}


@pytest.fixture(scope="module")
def reader() -> Reader:
    return Reader()


@pytest.mark.parametrize(("sentence", "said"), SENTENCES)
def test_a_sentence_is_read_as_it_is_meant(reader, sentence, said):
    reading = reader.read(sentence)
    found = {name: {status, *_levels(reading, name)} for name, status in reading.findings.items()}
    expected = {}
    for statement in filter(None, said.split("; ")):
        first, *others = statement.split(" ")
        name, status = (others[0], STATUSES[first]) if first in STATUSES else (first, "present")
        expected[name] = {status, *(word for word in others if word != name)}
    assert found == expected


def _levels(reading, name):
    return {level for level, names in reading.levels.items() if name in names}
