"""Renders `report.html`: one file that opens anywhere, without network and without scripts."""

import pathlib
from collections.abc import Mapping

import jinja2

import lumbarclip_jax
from lumbarclip_jax.evaluators.classification import Predictions
from lumbarclip_jax.evaluators.gallery import Gallery
from lumbarclip_jax.report import figures, tables

FILE = "report.html"


def write_report(
    workdir: pathlib.Path,
    *,
    metrics: Mapping[str, float],
    history: list[dict],
    manifest: dict,
    config: Mapping,
    gallery: Gallery | None = None,
    predictions: Mapping[str, Mapping[str, Predictions]] | None = None,
) -> pathlib.Path:
    """Writes the page of a run; nothing in it is typed by hand.

    Reports are text from outside: everything is escaped, and the page's own policy forbids scripts
    and any request.

    Args:
      workdir: folder of the run; the page goes to `report.html` in it.
      metrics: what the evaluators yielded.
      history: rows of `metrics.jsonl`: `step`, training scalars, metrics of evaluations on the way.
      manifest: of the data set that was measured.
      config: of the run, nested.
      gallery: retrieval examples.
      predictions: evaluator name to the `predictions` it kept, for the confusion matrices.

    Returns:
      The file written.
    """
    arranged = tables.sections(dict(metrics))
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            name=config.get("name", workdir.name),
            version=lumbarclip_jax.__version__,
            steps=max((row["step"] for row in history), default=0),
            sections=arranged,
            headlines=tables.headlines(arranged),
            curves=figures.training_curves(history) + figures.evaluation_curves(history),
            manifest=manifest,
            config=tables.flat(config),
            gallery=gallery,
            predictions=predictions or {},
        )
    )
    path = workdir / FILE
    path.write_text(page, encoding="utf-8")
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["slice_picture"] = figures.slice_picture
    return environment
