"""Reads findings from a table of reports.

    python -m data_prep.label_reports --reports=FILE --out=findings.jsonl

Writes one JSON object a report, in the form that ``python -m data_prep.build --findings`` reads:
``{"id": 1, "report": DIGEST, "findings": {name: "present" | "absent" | "uncertain"}, "levels":
{level: [name]}}``. The digest of the text keeps labels with the report that they were made from,
where a patient has several. What a report does not speak of is left out. The rules are the TOML
files of data_prep/label_reports/rules.

``--compare=FILE`` holds the findings against labels that people gave, in the same form, and shows
precision, recall and every disagreement with the words it comes from. ``--explain`` shows for each
finding the words and the rule that decided. Both print text of the reports.
"""

import pathlib

from absl import flags

from data_prep import cli
from data_prep.label_reports import rules
from data_prep.label_reports.labelling import run
from data_prep.sources import mendeley


def _define_flags() -> None:
    flags.DEFINE_string(
        "reports", None, "table of reports: .xlsx, .csv or .parquet, a row a report"
    )
    flags.DEFINE_string("out", None, "JSON lines of findings to write; optional with --compare")
    flags.DEFINE_string("patient_column", mendeley.PATIENT_COLUMN, "header of the reports' ids")
    flags.DEFINE_string("report_column", mendeley.REPORT_COLUMN, "header of the report texts")
    flags.DEFINE_string(
        "rules",
        None,
        "folder of rule files to use instead: a copy of data_prep/label_reports/rules, edited",
    )
    flags.DEFINE_bool("explain", False, "print the words and the rule behind every finding")
    flags.DEFINE_string(
        "compare", None, "labels given by people, JSON lines: print how well the findings agree"
    )
    flags.mark_flags_as_required(["reports"])


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    paths = {
        name: pathlib.Path(path)
        for name in ("reports", "out", "rules", "compare")
        if (path := options[name].value)
    }
    lines = run(
        paths["reports"],
        out_file=paths.get("out"),
        patient_column=options.patient_column,
        report_column=options.report_column,
        rules_dir=paths.get("rules", rules.FOLDER),
        truth_file=paths.get("compare"),
        explain=options.explain,
    )
    print("\n".join(lines))


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
