"""What a sweep found: the tables of all its complete runs."""

import logging
import pathlib
from collections.abc import Mapping, Sequence

from lumbarclip_jax.sweep.notes import notes
from lumbarclip_jax.sweep.pages import Page, run_links
from lumbarclip_jax.sweep.plan import PlannedRun
from lumbarclip_jax.sweep.results import read_results
from lumbarclip_jax.sweep.table import ablation

log = logging.getLogger(__name__)


def summary(
    runs: Sequence[PlannedRun],
    failures: Mapping[str, str],
    command: str,
    resamples: int,
    out: pathlib.Path,
    baseline: str = "",
) -> Page:
    """The page of these runs.

    Args:
      failures: of each run that failed, its name and the reason.
      command: what was typed.
      resamples: of patients, for the intervals.
      out: folder of the page, from which its links lead to the runs.
      baseline: the model that the others are compared with, see `table.ablation`.
    """
    clean = read_results([run for run in runs if not run.is_leaky])
    leaky = read_results([run for run in runs if run.is_leaky])
    log.info("resampling patients for the tables")
    table = ablation(clean, resamples, baseline) if clean else None
    return Page(
        command=command,
        notes=notes(runs, table, resamples) if table else [],
        table=table,
        leaky=ablation(leaky, resamples, baseline) if leaky else None,
        failures=list(failures.items()),
        runs=run_links(runs, out),
    )
