"""Planted identities: invented people whose data must never survive de-identification.

Every word is made up and long, so that a byte search for it in a data set has no false alarms.
"""

import dataclasses
import datetime

from data_prep.phantom.anatomy import Patient

_FAMILY = [
    "Zorvane",
    "Quillbrook",
    "Thistlemoor",
    "Vandersloom",
    "Oxenhurst",
    "Brackwyth",
    "Umberlyde",
    "Fennimarsh",
    "Jaskowar",
    "Kestrivan",
    "Ploverdale",
    "Ravenshaugh",
    "Snordahl",
    "Tamberlyn",
    "Wexcombe",
    "Yllander",
    "Gorseworth",
    "Hibbernock",
]
_GIVEN = {
    "M": [
        "Aldrico",
        "Bertrando",
        "Corvinus",
        "Dagobert",
        "Eldwin",
        "Fabrizius",
        "Gundolf",
        "Hartwino",
    ],
    "F": [
        "Amarilda",
        "Bellatrix",
        "Clorinda",
        "Desideria",
        "Eulaliana",
        "Floriberta",
        "Gismonda",
        "Hildetrud",
    ],
}
_PHYSICIANS = ("Mortensquill^Ottokar^^Dr", "Pfefferbaum^Lioba^^Dr", "Dunkelwasser^Ismene^^Dr")
_INSTITUTIONS = ("Klinik Fröhlingshausen", "Hospital Vallenquist", "Radiology Centre Umberford")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What a scanner knows about a person and the visit."""

    name: str  # DICOM person name, FAMILY^GIVEN
    hospital_id: str
    accession: str
    birth_date: datetime.date
    visited: datetime.datetime
    physician: str
    operator: str
    institution: str
    address: str
    telephone: str


def draw_identity(patient: Patient) -> Identity:
    rng = patient.rng("identity")
    visited = datetime.datetime(2015, 9, 1, 7, 30) + datetime.timedelta(
        days=int(rng.integers(330)),
        seconds=int(rng.integers(12 * 3600)),
        milliseconds=int(rng.integers(1000)),
    )
    birth = visited.date().replace(year=visited.year - patient.age_years, day=1)
    family, given = rng.choice(_FAMILY), rng.choice(_GIVEN[patient.sex])
    return Identity(
        name=f"{family}^{given}",
        hospital_id=f"HX{rng.integers(10**7):07d}",
        accession=f"AX{rng.integers(10**8):08d}",
        birth_date=birth - datetime.timedelta(days=int(rng.integers(360))),
        visited=visited,
        physician=str(rng.choice(_PHYSICIANS)),
        operator=f"{rng.choice(_FAMILY)}^{rng.choice(_GIVEN['F'])}",
        institution=str(rng.choice(_INSTITUTIONS)),
        address=f"{rng.integers(1, 99)} {rng.choice(_FAMILY)} Lane, Umberford",
        telephone=f"555-01{rng.integers(100):02d}-{rng.integers(10000):04d}",
    )
