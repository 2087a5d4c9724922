"""Writes the audit page of a data set.

    python -m data_prep.audit DIR

The page goes to ``DIR.audit.html``, beside the data set: it is for those who answer for the data.
Every byte of the data set is read and checked, as by ``data_prep.verify``.
"""

import pathlib

from absl import flags

from data_prep import cli
from data_prep.audit.page import write_audit


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    folder = pathlib.Path(options.data)
    path = write_audit(folder, options.out and pathlib.Path(options.out), pictures=options.pictures)
    print(f"the audit page is {path}")


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "folder of the data set, which may also be given plainly")
    flags.DEFINE_string("out", None, "page to write (default: DIR.audit.html, beside the data set)")
    flags.DEFINE_integer("pictures", 12, "pictures of each level and sequence on the page")
    cli.run(main, plain="data")
