"""Where studies come from: one module a source.

A source offers

- ``scan(inputs) -> Scan``: the images to use, with patient, study, series, level and sequence, and
  everything left out; also its labels and, where there is no report table, its texts;
- ``patient_key(cell)``: the id that its images use for a patient, from a cell of any table, or
  None;
- ``PATIENT_COLUMN`` and ``REPORT_COLUMN`` of its report table, both empty when ``scan`` gives the
  reports itself.
"""

from data_prep.sources import folder, mendeley, rsna, spider, table

# The phantom is drawn in the published layout, and named apart so that no one cites it as data.
SOURCES = {
    "folder": folder,
    "mendeley": mendeley,
    "phantom": mendeley,
    "rsna": rsna,
    "spider": spider,
    "table": table,
}
