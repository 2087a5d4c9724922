"""The page a run leaves behind: one HTML file with its curves, numbers, examples and data."""

from lumbarclip_jax.report.examples import find_examples
from lumbarclip_jax.report.page import write_report

__all__ = ["find_examples", "write_report"]
