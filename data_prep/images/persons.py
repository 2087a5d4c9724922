"""Whether two headers speak of one person: a patient id may be used twice."""

import dataclasses
import re
import unicodedata

import pydicom

FIELDS = ("IssuerOfPatientID", "PatientBirthDate", "PatientName")


@dataclasses.dataclass(frozen=True, slots=True)
class Person:
    """What a header says of who was examined: to compare, never to store, print or log."""

    issuer: str = dataclasses.field(default="", repr=False)
    birth_date: str = dataclasses.field(default="", repr=False)
    name: frozenset[str] = dataclasses.field(default=frozenset(), repr=False)

    def differs(self, other: "Person") -> bool:
        """Whether the two, who have one patient id, must be two persons.

        Ids of different issuers are of different persons. Else birth dates decide: people change
        their names. Where one is missing, names decide, if they have no word in common.
        """
        if self.issuer and other.issuer and self.issuer != other.issuer:
            return True
        if self.birth_date and other.birth_date:
            return self.birth_date != other.birth_date
        return bool(self.name and other.name) and not self.name & other.name


def person(dataset: pydicom.Dataset) -> Person:
    """The person of a header."""
    issuer, birth_date, name = (str(dataset.get(field) or "").strip() for field in FIELDS)
    return Person(issuer.casefold(), re.sub(r"\D", "", birth_date), _words(name))


def _words(name: str) -> frozenset[str]:
    """The words of a name without case and accents; numbers tell pseudonyms apart, not persons."""
    letters = unicodedata.normalize("NFKD", name).casefold()
    letters = "".join(char for char in letters if not unicodedata.combining(char))
    return frozenset(re.findall(r"[^\W\d_]+", letters))
