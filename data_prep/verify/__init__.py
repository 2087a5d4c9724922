"""Whether a data set is whole, what its manifest says, and free of leaks between its splits."""

from data_prep.verify.checks import verify

__all__ = ["verify"]
