"""A classifier as `lumbarclip_jax.load` reads it on any machine, with a card of its own."""

import dataclasses
import pathlib
import shutil

from lumbarclip_jax.classifier import Classifier
from lumbarclip_jax.data import resplit
from lumbarclip_jax.data.tasks import tasks_of
from lumbarclip_jax.evaluators import metrics_file
from lumbarclip_jax.export import model_card
from lumbarclip_jax.finetune import saved
from lumbarclip_jax.finetune.recipe import upgraded
from lumbarclip_jax.report import tables
from lumbarclip_jax.run_folder import trained_patients
from lumbarclip_jax.run_folder.files import METRICS_FILE


def write(classifier: Classifier, folder: pathlib.Path) -> None:
    """Copies the weights and all that measuring them needs, and names no folder of this machine.

    Raises:
      ValueError: its metrics.json is damaged.
    """
    metrics, definition = classifier.metrics, classifier.definition
    for name in (saved.WEIGHTS_FILE, trained_patients.FILE):
        if (classifier.folder / name).is_file():
            shutil.copyfile(classifier.folder / name, folder / name)
    definition = dataclasses.replace(definition, data_dir="")
    saved.write_definition(folder, definition)
    if metrics:
        metrics_file.save_metrics(metrics, folder / METRICS_FILE)
    recipe, warnings = upgraded(definition.recipe), []
    known = tasks_of(definition.data)
    if definition.data.get("resplit") == resplit.LEAKY:
        warnings.append(resplit.WARNING)
    if trained_on := metrics.get(trained_patients.CAUTION):
        warnings.append(trained_patients.warning(round(trained_on), "the classifier"))
    model_card.render(
        folder,
        "classifier.md.j2",
        classifier=definition,
        levels=classifier.levels,
        of_patients=[
            task for task in classifier.tasks if task in known and known[task].unit == "patient"
        ],
        members=len(definition.epochs_kept),
        data=definition.data,
        recipe=recipe,
        settings=tables.flat(recipe),
        sections=tables.sections(metrics),
        title=tables.title,
        warnings=warnings,
        pretrained=[],
    )
