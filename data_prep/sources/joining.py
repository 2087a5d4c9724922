"""Which report belongs to which study: ids of a user's table against ids of DICOM headers.

No message here shows an id, since an id may be a record number.
"""

from collections.abc import Mapping, Sequence

from data_prep.drops import Drop, Reason
from data_prep.scan import Columns
from data_prep.slices.series import Slice
from data_prep.tables import Table

KINDS = {"patient": "patient id", "study": "study UID", "accession": "accession number"}

Study = tuple[str, str]  # patient id and study UID, as the headers have them


class IdClash(ValueError):
    """Two ids that a spreadsheet could have made from each other."""


class ReportIds:
    """Keys that are equal for a table's row and the headers of its study.

    Spreadsheets turn 0042 into 42 and add blanks; ids are compared without leading zeros, blanks
    around them and case. Should two ids of the archive differ in nothing else, that is refused.
    """

    def __init__(self, columns: Columns):
        self.columns = {kind: getattr(columns, kind) for kind in KINDS if getattr(columns, kind)}
        self._all = columns
        self._written: dict[tuple[str, str], str] = {}
        self.seen = {kind: set() for kind in self.columns}

    def check(self, table: Table) -> None:
        """Raises ValueError where a needed column is not named or not there."""
        if not self.columns or not self._all.report:
            raise ValueError(
                "--source=folder needs --report_column and at least one of --patient_column, "
                f"--study_column and --accession_column; {table.path} has the columns "
                f"{table.shown_columns()}"
            )
        for kind in (*KINDS, "report", "image", "level"):
            if getattr(self._all, kind):
                table.column(getattr(self._all, kind), option=f"--{kind}_column")

    def levels_by_column(self, method: str) -> bool:
        """Whether levels are read from the table.

        Raises:
          ValueError: they should be, but the columns are not named, or the way is another source's.
        """
        named = bool(self._all.level and self._all.image)
        if method == "table":
            raise ValueError("--levels=table is for the published set: choose auto or column")
        if bool(self._all.level) != bool(self._all.image) or (method == "column" and not named):
            raise ValueError(
                "levels by column need both --level_column and --image_column (the path of an "
                "image below --images, or its SOP instance UID): give both or neither"
            )
        return named and method != "blocks"

    def of_row(self, *cells: str) -> str | None:
        """The key of a table's row, None when one of its ids is empty."""
        parts = [
            self._normal(f"{kind} of the table", cell)
            for kind, cell in zip(self.columns, cells, strict=True)
        ]
        for kind, part in zip(self.columns, parts, strict=True):
            if part:
                self.seen[kind].add(part)
        return "\0".join(parts) if all(parts) else None

    def of_study(self, slices: Sequence[Slice]) -> str | None:
        """The key of a study, None when its headers lack one of the ids."""
        header = slices[0].header
        # Also where studies are joined by another id: equal patients end in one split.
        self._normal("patient of the headers", header.patient)
        parts = [
            self._normal(f"{kind} of the headers", getattr(header, kind)) for kind in self.columns
        ]
        return "\0".join(parts) if all(parts) else None

    def _normal(self, kind: str, text: str) -> str:
        text = text.strip()
        normal = normal_id(text)
        if self._written.setdefault((kind, normal), text) != text:
            raise IdClash(
                f"two {KINDS[kind.split()[0]]}s of the {kind.split()[-1]} differ in leading zeros "
                "or case alone, which a spreadsheet does not keep apart: write each in one way, or "
                "join on another column"
            )
        return normal


def normal_id(text: str) -> str:
    """An id without blanks around it, leading zeros and case."""
    return text.strip().lstrip("0").casefold() or text.strip()


def join(
    studies: Mapping[Study, Sequence[Slice]], reports: Mapping[str, str], ids: ReportIds
) -> tuple[dict[str, Study], dict[str, str], list[Drop]]:
    """Finds the report of every study, and the latest reported study of every patient.

    Returns:
      (patient -> study, patient -> report, what was left out).

    Raises:
      ValueError: no study has a report.
    """
    key_of = {study: ids.of_study(slices) for study, slices in studies.items()}
    drops = []
    reported: dict[str, list[Study]] = {}
    for study, key in key_of.items():
        if key in reports:
            reported.setdefault(study[0], []).append(study)
        else:
            drops.append(Drop(studies[study][0].path, Reason.IMAGE_WITHOUT_REPORT))
    if not reported:
        raise ValueError(_no_match(studies, reports, ids))
    chosen, text_of = {}, {}
    for patient, candidates in reported.items():
        latest = max(candidates, key=lambda study: (studies[study][0].header.study_date, study))
        chosen[patient] = latest
        text_of[patient] = reports[key_of[latest]]
        drops += [
            Drop(studies[study][0].path, Reason.STUDY_NOT_CHOSEN)
            for study in candidates
            if study != latest
        ]
    unused = reports.keys() - set(key_of.values())
    drops += [Drop(f"report of {key!r}", Reason.REPORT_WITHOUT_IMAGE) for key in unused]
    return chosen, text_of, drops


def _no_match(
    studies: Mapping[Study, Sequence[Slice]], reports: Mapping[str, str], ids: ReportIds
) -> str:
    """Says what was compared with what, in counts, and which other column would have matched."""
    headers = [slices[0].header for slices in studies.values()]
    values = {kind: {normal_id(getattr(h, kind)) for h in headers} - {""} for kind in KINDS}
    tried = []
    for kind, column in ids.columns.items():
        matching = {other: len(ids.seen[kind] & values[other]) for other in KINDS}
        hints = [
            f"but {count} are {KINDS[other]}s of the headers, so try --{other}_column={column!r}"
            for other, count in matching.items()
            if count and other != kind
        ]
        tried.append(
            f"column {column!r} holds {len(ids.seen[kind])} values and the headers "
            f"{len(values[kind])} {KINDS[kind]}s, {matching[kind]} of them equal"
            + "".join(f" ({hint})" for hint in hints)
        )
    together = " and no row matches in all of them" if len(tried) > 1 else ""
    return (
        f"none of {len(reports)} reports belongs to one of {len(studies)} studies: "
        + "; ".join(tried)
        + together
        + ": name the columns that hold these ids"
    )
