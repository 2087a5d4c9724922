"""Everything in our own names: what `lumbarclip_jax.load` reads, and training is not needed for."""

import pathlib
import shutil

from lumbarclip_jax.evaluators.metrics_file import save_metrics
from lumbarclip_jax.export import model_card
from lumbarclip_jax.run_folder import trained_patients, weights_file
from lumbarclip_jax.run_folder.files import METRICS_FILE
from lumbarclip_jax.run_folder.run import Run, save_definition


def write(run: Run, folder: pathlib.Path) -> None:
    """Writes one safetensors file, and beside it what says how to use it."""
    variables = {"params": run.state.params, "batch_stats": run.state.batch_stats}
    weights_file.save(folder / weights_file.FILE, variables, int(run.state.step))
    save_definition(folder, run.config, run.tokenizer, run.data_manifest)
    patients = run.folder / trained_patients.FILE
    if patients.is_file():
        shutil.copyfile(patients, folder / patients.name)
    if run.metrics:
        save_metrics(run.metrics, folder / METRICS_FILE)
    model_card.write(run, folder, library="lumbarclip_jax", usage="safetensors.md.j2")
