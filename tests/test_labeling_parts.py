"""Report labels, part by part: spelling, levels, phrases, sections, rule files."""

import shutil

import pytest

from data_prep.label_reports import rules
from data_prep.label_reports.levels import LevelReader
from data_prep.label_reports.phrases import PhraseBook, longest
from data_prep.label_reports.reader import Reader
from data_prep.label_reports.sections import Splitter, clean_up
from data_prep.label_reports.spelling import Speller, slips
from data_prep.label_reports.tokens import Tokenizer


@pytest.fixture(scope="module")
def loaded():
    return rules.load()


@pytest.fixture(scope="module")
def splitter():
    return Splitter()


@pytest.mark.parametrize(
    ("first", "second", "distance"),
    [("sac", "sac", 0), ("tehcal", "thecal", 1), ("stenosis", "stnosis", 1), ("abc", "", 3)],
)
def test_slips(first, second, distance):
    assert slips(first, second) == slips(second, first) == distance


def test_spelling():
    spell = Speller(
        ["compression", "thecal", "sac", "protrusion"], ["comprehension"], {"sca": "sac"}, ["bulg"]
    )
    expected = {
        "compresion": ("compression",),
        "comprehension": ("comprehension",),
        "comprehensoin": ("comprehensoin",),
        "decompression": ("decompression",),
        "thecalsac": ("thecal", "sac"),
        "sca": ("sac",),
        "sack": ("sack",),
        "portrusoin": ("protrusion",),
        "bulgeous": ("bulgeous",),
        "x" * 500: ("x" * 500,),
    }
    assert {word: spell(word) for word in expected} == expected


@pytest.mark.parametrize(
    "word",
    [
        "dislocation",
        "decompression",
        "patient",
        "angular",
        "extended",
        "extension",
        "exclusion",
        "spondylolysis",
        "comparison",
        "fibrosus",
        "fibroid",
        "effusion",
        "abnormal",
        "inadequate",
        "unremarkable",
        "scoliosis",
        "existing",
        "caudal",
        "distal",
        "intrusion",
        "diffusion",
        "depression",
        "status",
        "process",
        "infection",
        "muscles",
        "notable",
    ],
)
def test_real_words_are_no_slips(loaded, word):
    assert loaded.speller(word) == (word,)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("L4-5", "L4-L5"),
        ("L4/L5", "L4-L5"),
        ("L4 / 5", "L4-L5"),
        ("L 4 - L 5", "L4-L5"),
        ("L4–5", "L4-L5"),
        ("L4\\L5", "L4-L5"),
        ("L4.5", "L4-L5"),
        ("L45", "L4-L5"),
        ("L4L5", "L4-L5"),
        ("L5-1", "L5-S1"),
        ("L5S1", "L5-S1"),
        ("L4 on L5", "L4-L5"),
        ("l5/s1", "L5-S1"),
        ("atL5/S1level", "L5-S1"),
        ("L23-L3", "L2-L3"),
        ("L5-L4", "L4-L5"),
        ("L4-5-S1", "L4-L5 L5-S1"),
        ("L3-4-5", "L3-L4 L4-L5"),
        ("L3-4, L4-5 and L5-S1", "L3-L4 L4-L5 L5-S1"),
        ("L3/L4/&L4/L5", "L3-L4 L4-L5"),
        ("L4-L5 L5-S1", "L4-L5 L5-S1"),
        ("L4/5 & 5/S1", "L4-L5 L5-S1"),
        ("L4-5 > L3-4", "L3-L4 L4-L5"),
        ("L2-3 < L3-4 << L4-5", "L2-L3 L3-L4 L4-L5"),
        ("between L4 and L5", "L4-L5"),
        ("L3 to S1", "L3-L4 L4-L5 L5-S1"),
        ("L3-S1", "L3-L4 L4-L5 L5-S1"),
        ("L2-L3 to L5-S1", "L2-L3 L3-L4 L4-L5 L5-S1"),
        ("L1/2 through L3/4", "L1-L2 L2-L3 L3-L4"),
        ("L4-5 level and L5-S1 level", "L4-L5 L5-S1"),
        ("D12-L1", ""),
        ("C5-6", ""),
        ("S1-S2", ""),
    ],
)
def test_level_notations(loaded, text, levels):
    places = [token.place for token in Tokenizer(loaded)(text) if token.place]
    assert len(places) == 1
    assert " ".join(places[0].levels) == levels


@pytest.mark.parametrize(
    "text", ["L4", "S1", "4-5", "5/5", "T1", "T2", "3.5 x 4 mm", "L9-10", "L0-1"]
)
def test_what_is_no_level(loaded, text):
    assert not [token for token in Tokenizer(loaded)(text) if token.place]


@pytest.mark.parametrize(
    ("words", "is_elsewhere"),
    [("c 5 - 6", True), ("t 7 - t 8", True), ("d 11 / d 12", False), ("d 12 - l 1", False)],
)
def test_discs_of_other_studies(loaded, words, is_elsewhere):
    place, _ = LevelReader(loaded.levels).read(words.split(), 0)
    assert place.elsewhere == is_elsewhere
    assert place.levels == ()


def test_phrases():
    book = PhraseBook([("disc bulg*", 1), ("bulg*", 2), ("loss .. height|signal", 3)])
    words = ["disc", "bulges", "with", "loss", "of", "its", "height"]
    found = [(match.start, match.end, match.payload) for match in longest(book.find(words))]
    assert found == [(0, 2, 1), (3, 7, 3)]
    assert not book.find(["loss", ",", "height"])
    assert not book.find(["loss", "a", "b", "c", "d", "e", "height"])


@pytest.mark.parametrize("phrase", ["", "Disc", ".. bulge", "bulge ..", "disc-bulge", "a||b", "x+"])
def test_phrases_that_cannot_be_read(phrase):
    with pytest.raises(ValueError, match="phrase"):
        PhraseBook([(phrase, 1)])


def test_sections(splitter):
    text = (
        "Clinical history: pain.\nTECHNIQUE\nSagittal T1.\nFindings: Lt. bulge of 1.3 cm. No tear. "
        "IMPRESSION: 1. Bulge. 2. Old wedging.\nRecommendation: follow up"
    )
    assert [(part.kind, part.sentences) for part in splitter.sections(text)] == [
        ("history", ("pain.",)),
        ("technique", ("Sagittal T1.",)),
        ("findings", ("Lt. bulge of 1.3 cm.", "No tear.")),
        ("impression", ("Bulge.", "Old wedging.")),
        ("recommendation", ("follow up",)),
    ]


def test_a_report_without_titles_is_one_section(splitter):
    (section,) = splitter.sections("MRI LSS\n- Bulge at L4-5\n- No tear // Modic changes")
    assert section.kind == "findings"
    assert section.is_lumbar
    assert section.sentences == ("Bulge at L4-5", "No tear", "Modic changes")


def test_regions(splitter):
    text = (
        "Cervical spine MRI\nBulge.\nRT KNEE MRI:\nTear.\nMRI of the lumbar and dorsal spine\nCyst."
    )
    assert [(part.is_lumbar, part.sentences) for part in splitter.sections(text)] == [
        (False, ("Bulge.",)),
        (False, ("Tear.",)),
        (True, ("Cyst.",)),
    ]


def test_lines_broken_by_the_width_of_a_page_are_joined(splitter):
    text = "There is no evidence of\ndisc herniation at L4-5\nAdequate canal"
    assert splitter.sentences(text) == [
        "There is no evidence of disc herniation at L4-5",
        "Adequate canal",
    ]


def test_clean_up():
    assert (
        clean_up("<b>a</b>&nbsp;b_x000D_<br/>c  &ndash;\x00 d&amp;e\r\nf") == "a\n b\n\nc – d&e\nf"
    )


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (
            "concepts.toml",
            "[disc_bulge]",
            "[disc_bulges]",
            "concepts.toml: unknown finding 'disc_bulges'",
        ),
        ("concepts.toml", '"bulg*"', '"Bulg*"', "the phrase 'Bulg\\*'"),
        ("assertions.toml", "[past]", "[passed]", "assertions.toml has no entry 'past'"),
        ("levels.toml", "pair_words", "pairs", "levels.toml has no entry 'pair_words'"),
        ("spelling.toml", "[aliases]", "[aliases", "spelling.toml is not a TOML file"),
        ("sections.toml", "[titles]", "[title]", "sections.toml"),
        ("assertions.toml", "[signs.opening]", "[signs.open]", "assertions.toml has no entry"),
        ("levels.toml", "after_all =", "after =", "levels.toml has no entry 'after_all'"),
        ("languages.toml", "denials =", "denial =", "languages.toml has no entry 'denials'"),
    ],
)
def test_rules_that_cannot_be_read(tmp_path, file, old, new, sentence):
    folder = shutil.copytree(rules.FOLDER, tmp_path / "rules")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=sentence):
        Reader(folder)


@pytest.mark.parametrize(
    ("text", "read", "unread"),
    [
        ("L4-5 bulge", 1, 0),
        ("Protrusion L4/5. Bulging L5/S1.", 2, 0),
        ("Protrusion L4/5. Kein Bulging.", 0, 2),
        ("MR-Klinik für Radiologie\nBulge at L4-5.\nNo tear.", 2, 1),
        ("Patient 김철수 has a bulge at the L4-5 level.", 1, 0),
        ("L4-5 bulge, stenosis 없음.", 0, 1),
        ("Signal α of the disc at L4-5 is low, 5 µm.", 1, 0),
        ("Nepastebėta jokių protrusio požymių", 0, 1),
        ("Qwert asdf zxcv protrusion poiu", 0, 1),
        ("Technique: Séquences et coupes sans contraste.\nFindings: bulge.", 1, 0),
    ],
)
def test_languages(text, read, unread):
    reading = Reader().read(text)
    assert (reading.read, reading.unread) == (read, unread)
    assert reading.is_english == (read >= unread or bool(reading.evidence))
    assert read or not reading.findings


def test_words_written_as_escapes_stay_words(splitter):
    assert splitter.sentences("Canal\\normal\\nNo tear\\tin L4") == [
        "Canal\\normal",
        "No tear",
        "in L4",
    ]


def test_edited_rules_count(tmp_path):
    folder = shutil.copytree(rules.FOLDER, tmp_path / "rules")
    path = folder / "concepts.toml"
    path.write_text(path.read_text().replace('"protru*"', '"protru*", "pouting disc"'))
    text = "Pouting disc at L4-5."
    assert Reader(folder).read(text).levels == {"L4-L5": ["disc_protrusion"]}
    assert Reader().read(text).levels == {}
