"""A page on a data set that its data manager can check and sign."""

from data_prep.audit.page import write_audit

__all__ = ["write_audit"]
