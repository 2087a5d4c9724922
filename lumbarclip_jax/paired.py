"""python -m lumbarclip_jax.paired --a=runs/resnet --b=runs/vit

Says whether two models differ: every metric of what both answered about the same rows, as a - b
with its 95 % interval over the same resampled patients. An interval without 0 says that they do.

--a and --b are folders of runs, of fine-tunes or of evaluations, or predictions.npz files. Several
of them, as a,b or with * as in a shell, are the folds of one cohort and pooled. Answers of other
names are compared with

  --answers_a=test/linear_probe/pfirrmann_ge_3/image_features --answers_b=test/pixels/pfirrmann_ge_3

Named so, ranks of retrieval may be of other queries about the same patients: whether a study finds
its report more surely than a slice does.

--out gets all numbers as JSON.
"""

import logging
import pathlib

from absl import flags

from lumbarclip_jax.evaluators.metrics_file import save_metrics
from lumbarclip_jax.process import cli

A = flags.DEFINE_list("a", None, "first model", required=True)
B = flags.DEFINE_list("b", None, "second model", required=True)
ANSWERS_A = flags.DEFINE_string("answers_a", None, "one answer of the first model")
ANSWERS_B = flags.DEFINE_string("answers_b", None, "the second model's to compare it with")
OUT = flags.DEFINE_string("out", None, "JSON file for all differences")
RESAMPLES = flags.DEFINE_integer("resamples", 1000, "bootstrap resamples of patients", 100)

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.paired")


def main() -> None:
    if (ANSWERS_A.value is None) != (ANSWERS_B.value is None):
        raise ValueError("--answers_a and --answers_b belong together: pass both or neither")
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.evaluators import differences
    from lumbarclip_jax.report.console import log_summary

    files_a, files_b = differences.files_of(A.value), differences.files_of(B.value)
    a, b = differences.read(files_a), differences.read(files_b)
    name, other = ANSWERS_A.value, ANSWERS_B.value
    if name and other and name in a.ranks and other in b.ranks:
        ranks = a.ranks[name], b.ranks[other]
        found = differences.difference_by_patient(*ranks, name, RESAMPLES.value)
    elif name and other:
        of_a, of_b = differences.answers(a, name, "a"), differences.answers(b, other, "b")
        found = differences.difference(of_a, of_b, name, RESAMPLES.value)
    else:
        found = differences.of_one_name(a, b, RESAMPLES.value)
    if cautions := differences.cautions(files_a, files_b):
        log.warning("not to be read without %s, of --a or --b", ", ".join(cautions))
    found = cautions | dict(sorted(found.items()))
    log.info("differences, a - b:")
    log_summary(found)
    if OUT.value:
        save_metrics(found, pathlib.Path(OUT.value))


if __name__ == "__main__":
    cli.run(main)
