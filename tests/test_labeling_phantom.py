"""Report labels against the phantom's readers, who know what they say: typos and all."""

from data_prep.label_reports.compare import compare
from data_prep.label_reports.reader import Reader
from data_prep.phantom.anatomy import draw_patient
from data_prep.phantom.reports import write_report

PATIENTS = 150


def test_what_the_phantom_says_is_understood():
    reports = [write_report(draw_patient(11, number, 0.5)) for number in range(1, PATIENTS + 1)]
    written = {str(number): report for number, report in enumerate(reports) if report.text}
    assert len(written) > 100
    reader = Reader()
    readings = {number: reader.read(report.text) for number, report in written.items()}
    agreement = compare(
        *({n: as_labels(r) for n, r in side.items()} for side in (readings, written))
    )
    assert agreement.findings.precision > 0.99
    assert agreement.findings.recall > 0.99
    assert agreement.levels.precision > 0.99
    assert agreement.levels.recall > 0.99
    assert agreement.flips == 0


def as_labels(report) -> dict:
    return {"findings": report.findings, "levels": report.levels}
