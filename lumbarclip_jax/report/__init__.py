"""The page a run leaves behind: one HTML file with its curves, numbers, examples and data."""

from lumbarclip_jax.report.page import write_report

__all__ = ["write_report"]
