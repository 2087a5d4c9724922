"""Images and reports in; a TFDS folder, a manifest and a vocabulary out: `build`.

Everything is written to a hidden folder beside the one that is asked for, which takes that name
when the data set is whole.
"""

from data_prep.build.data_set import build

__all__ = ["build"]
