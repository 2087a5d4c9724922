"""Where studies come from: one module a source.

A source offers ``PATIENT_COLUMN``, ``REPORT_COLUMN`` (of its report table), ``patient_key(cell)``,
``scan(images_dir, workers)`` and ``read_grades(path)``.
"""

from data_prep.sources import mendeley

SOURCES = {"mendeley": mendeley}
