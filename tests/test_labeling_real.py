"""The published reports, where they lie beside the repository: the findings against labels."""

from data_prep.label_reports.compare import compare
from data_prep.label_reports.labelling import label, patient_key, read_truth
from data_prep.sources import mendeley
from data_prep.text.reports import read_reports


def test_findings_agree_with_the_labels(real_data):
    truth = {
        subject.patient: row for subject, row in read_truth(real_data / "report_findings.jsonl")
    }
    reports, _ = read_reports(
        real_data / "Radiologists Report.xlsx",
        patient_column=mendeley.PATIENT_COLUMN,
        report_column=mendeley.REPORT_COLUMN,
        patient_key=patient_key,
    )
    assert len(truth) == len(reports) == 412
    found = {
        patient: {"findings": reading.findings, "levels": reading.levels}
        for patient, reading in label(reports)
    }
    agreement = compare(found, truth)
    assert agreement.findings.precision >= 0.97
    assert agreement.findings.recall >= 0.97
    assert agreement.levels.precision >= 0.95
    assert agreement.levels.recall >= 0.95
    assert agreement.macro_f1 >= 0.95
    assert agreement.flips == 0
