"""Identities leave a report's text; what a radiologist measured stays."""

import pydicom
import pytest

from data_prep.text import scrub

RULES = scrub.read_rules()["rules"]


def cases(kind):
    return [(rule["category"], line) for rule in RULES for line in rule[kind]]


@pytest.mark.parametrize(("category", "line"), cases("removes"))
def test_every_rule_removes_what_it_says(category, line):
    before, after = line.split(" => ")
    text, counts = scrub.scrub(before)
    assert text == after
    assert counts == {category: 1}


@pytest.mark.parametrize(("category", "line"), cases("keeps"))
def test_every_rule_keeps_what_it_says(category, line):
    assert scrub.scrub(line) == (line, {})


REPORT = """UMBERFORD GENERAL HOSPITAL
Name: Gismonda Fennimarsh    Age: 44 Y / F    File No: 4711-A
Ref. by Dr. Umberlyde
Thank you for referring Mrs Fennimarsh, seen on 7.3.2016 (MRN 0047110).
MRI LSS: 12/10 mm cyst at S2, 1.5 x 2 cm. Grade 2/4 listhesis of L4 on L5, power 3/5.
L4-5: bulge. T12 wedging, T1 and T2 dark, TR/TE 3500/102, 6 months ago no change; surgery in 2014.
Discussed with Dr. Pfefferbaum at 3:45 pm on 3/1/16.
Kind regards,
Dr. Lioba Pfefferbaum
Consultant Radiologist
Tel 06 555 0123, lioba@umberford.example"""

SCRUBBED = """[place]
Name: [name]    Age: 44 Y / F    File No: [id]
Ref. by Dr. [name]
Thank you for referring Mrs [name], seen on [date] (MRN [id]).
MRI LSS: 12/10 mm cyst at S2, 1.5 x 2 cm. Grade 2/4 listhesis of L4 on L5, power 3/5.
L4-5: bulge. T12 wedging, T1 and T2 dark, TR/TE 3500/102, 6 months ago no change; surgery in 2014.
Discussed with Dr. [name] at [date] on [date].
Kind regards,
Dr. [name]
Consultant Radiologist
Tel [phone], [email]"""


def test_a_whole_letter():
    text, counts = scrub.scrub(REPORT)
    assert text == SCRUBBED
    assert counts == {"date": 3, "email": 1, "id": 2, "name": 5, "phone": 1, "place": 1}
    assert scrub.scrub(text) == (text, {})


@pytest.mark.parametrize(
    ("known", "before", "after"),
    [
        ("Zorvane^Aldrico", "the case of zorvane, ALDRICO shows", "the case of [name] shows"),
        ("Zorvane^Aldrico", "zorvanes aldricoid xzorvane", "zorvanes aldricoid xzorvane"),
        ("Zorvane^Al", "al disc of Zorvane's", "al disc of [name]'s"),
        ("Al-Zorvane^Aldrico^M", "al-zorvane and Zorvane M", "[name] and [name] M"),
        ("Frölich^Ida", "frolich; FRÖLICH, ida", "[name]; [name]"),
        ("HX0012345", "hx0012345 seen", "[name] seen"),
        ("4711", "no 4711; 14711", "no [name]; 14711"),
        ("18", "18 mm, 18", "18 mm, 18"),
        # What names a patient names discs as well; it goes only beside the other name.
        ("Small^Zorvane", "small disc of Zorvane Small", "small disc of [name]"),
        ("LUMBAR^SPINE", "lumbar spine", "lumbar spine"),
        ("ANONYMOUS^PATIENT", "the patient is unknown", "the patient is unknown"),
        ("", "a disc", "a disc"),
        ("^^^", "a disc", "a disc"),
        ("(a+)+$", "a (a+)+$ b", "a [name] b"),
    ],
)
def test_what_the_headers_know_goes_wherever_it_stands(known, before, after):
    assert scrub.scrub(before, {known})[0] == after


def test_what_the_headers_know():
    header = pydicom.Dataset()
    header.PatientName = "Zorvane^Aldrico"
    header.PatientID = "HX1"
    header.OtherPatientIDs = ["A-1", "A-2"]
    header.ReferringPhysicianName = ""
    header.SeriesDescription = "t2"
    assert scrub.identities(header) == {"Zorvane^Aldrico", "HX1", "A-1", "A-2"}


@pytest.mark.parametrize("char", "a 1.,:-/\n^@A(")
def test_no_text_takes_long(char):
    """Patterns that backtrack would take minutes on 5,000 equal characters, and time out."""
    scrub.scrub(char * 5_000)
    scrub.scrub(f"Name: {char * 5_000}:")
