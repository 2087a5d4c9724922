"""Renders `report.html`: one file that opens anywhere, without network and without scripts."""

import json
import pathlib

import jinja2

import lumbarclip_jax
from data_prep.process.files import disk_errors_name, write_whole
from lumbarclip_jax.data import resplit
from lumbarclip_jax.evaluators.names import LEVEL_ONLY
from lumbarclip_jax.evaluators.suite import BY_STUDY
from lumbarclip_jax.evaluators.task_rows import FEWEST_PATIENTS
from lumbarclip_jax.process import activity
from lumbarclip_jax.report import (
    answer_pictures,
    by_class,
    figure_files,
    figures,
    forest,
    map_pictures,
    order,
    robustness_pictures,
    tables,
    tasks,
    verdict,
)
from lumbarclip_jax.report.examples import Examples
from lumbarclip_jax.report.measured import read_measured
from lumbarclip_jax.run_folder import choice, receipt, trained_patients
from lumbarclip_jax.run_folder.files import CONFIG_FILE, DATA_MANIFEST_FILE, REPORT_FILE
from lumbarclip_jax.run_folder.metric_writer import last_started, read_history


def write_report(
    folder: str | pathlib.Path,
    *,
    examples: Examples | None = None,
    out: str | pathlib.Path | None = None,
) -> pathlib.Path:
    """Writes the page of a run from what its folder holds; nothing in it is typed by hand.

    Reports are text from outside: everything is escaped, and the page's own policy forbids scripts
    and any request.

    What cannot be there, such as tasks of a data set without labels, is left out, with a sentence.

    Args:
      folder: of the run. Its metrics.json, metrics.jsonl and predictions.npz may be missing; what
        they hold is then left out. For what was measured later see `measured`.
      examples: what the model shows of its data set; left out when there is none.
      out: the file to write; by default `report.html` in the folder, and then also the figures as
        files of their own, see `figure_files`.

    Returns:
      The file written.

    Raises:
      FileNotFoundError: the folder is not a run's.
      ValueError: a file of numbers in it is damaged.
      OSError: the page cannot be written.
    """
    folder = pathlib.Path(folder)
    activity.now("drawing the page")
    config, manifest = read_definition(folder)
    history = read_history(folder)
    steps = max((row["step"] for row in history), default=0)
    measured = read_measured(folder, steps)
    metrics = measured.metrics
    arranged = tables.sections(order.ordered(metrics))
    parts = tasks.task_parts(arranged, measured.predictions, metrics)
    warning = ""
    if trained_on := metrics.get(trained_patients.CAUTION):
        warning = trained_patients.warning(round(trained_on))
    if config["data"].get("resplit") == resplit.LEAKY:
        warning = resplit.WARNING
    measured_parts = [part for part in parts if part.answered]
    headlines = tables.headlines(arranged)
    forest_rows = forest.forest_rows(measured_parts)
    curves = figures.training_curves(history) + figures.evaluation_curves(history)
    of_task = {
        (part.split, part.key): answer_pictures.task_pictures(part) for part in measured_parts
    }
    of_robustness = {
        section.split: robustness_pictures.robustness_pictures(metrics, section.split)
        for section in arranged
        if section.evaluator == "robustness"
    }
    of_embeddings = map_pictures.embedding_pictures(examples.embeddings) if examples else []
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            name=config.get("name", folder.name),
            version=lumbarclip_jax.__version__,
            warning=warning,
            verdict=verdict.verdict(headlines, manifest),
            is_invented=verdict.is_invented(manifest),
            unmeasured=verdict.unmeasured(parts, manifest),
            trained_on=last_started(folder),
            by_study=BY_STUDY in metrics,
            has_figure_files=out is None,
            steps=steps,
            chosen=choice.read(folder),
            outdated=measured.outdated,
            sections=[section for section in arranged if not tasks.is_classification(section)],
            class_tables=by_class.class_tables,
            is_measured=bool(metrics),
            headlines=headlines,
            tasks=measured_parts,
            forest_rows=forest_rows,
            forest_ticks=forest.TICKS,
            fewest_patients=FEWEST_PATIENTS,
            has_level_only=any(name.endswith(LEVEL_ONLY) for name in metrics),
            curves=curves,
            task_pictures=of_task,
            robustness_pictures=of_robustness,
            manifest=manifest,
            config=tables.flat(config),
            examples=examples,
            embedding_pictures=of_embeddings,
            map_pictures=examples and map_pictures.map_pictures(examples.maps),
        )
    )
    path = folder / REPORT_FILE if out is None else pathlib.Path(out)
    with disk_errors_name(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, page.encode())
    if out is None:
        drawn = [*forest.forest_figures(forest_rows), *curves, *of_embeddings]
        for pictures in (*of_task.values(), *of_robustness.values()):
            drawn += pictures
        figure_files.save_figures(drawn, folder)
        receipt.renew(folder, REPORT_FILE)
    return path


def read_definition(folder: pathlib.Path) -> tuple[dict, dict]:
    """The config of a run and the manifest of its data set.

    Raises:
      FileNotFoundError: the folder is not a run's.
    """
    for name in (CONFIG_FILE, DATA_MANIFEST_FILE):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder} is not a training run (no {name}): pass the --workdir of "
                "`python -m lumbarclip_jax.main`"
            )
    return _read_json(folder / CONFIG_FILE), _read_json(folder / DATA_MANIFEST_FILE)


def _read_json(path: pathlib.Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # pyrefly: ignore [bad-argument-type]  # Jinja takes any function, its annotation its own
    environment.globals.update(slice_picture=figures.slice_picture, title=tables.title)
    return environment
