"""Where studies come from: one module a source.

A source offers ``PATIENT_COLUMN``, ``REPORT_COLUMN`` (of its report table), ``patient_key(cell)``,
``scan(inputs)`` and ``read_grades(path)``.
"""

from data_prep.sources import mendeley

# The phantom is drawn in the published layout, and named apart so that no one cites it as data.
SOURCES = {"mendeley": mendeley, "phantom": mendeley}
