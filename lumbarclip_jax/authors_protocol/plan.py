"""The runs of the protocol: six run files, each under three objectives, with several seeds."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from lumbarclip_jax.sweep.plan import PlannedRun, plan_runs

# What is trained, by name: what it is called, and what it changes of the run files.
OBJECTIVES = {
    "labels": ("label-driven soft CLIP, as in the authors' code", ()),
    "soft_clip": (
        "soft CLIP with targets by embeddings, the default of this project",
        (
            "--config.objective.soft_clip.likeness=()",
            "--config.objective.soft_clip.target_scale=10.0",
            "--config.objective.soft_clip.hard_weight=0.9",
            "--config.objective.group_reports=True",
        ),
    ),
    "clip": (
        "plain CLIP",
        (
            "--config.objective.soft_clip.weight=0.0",
            "--config.objective.clip.weight=1.0",
            "--config.objective.group_reports=True",
        ),
    ),
}
# The protocol measures the runs itself, once they are trained.
MEASURED_HERE = ("--config.eval.every_steps=0", "--config.eval.at_the_end=('retrieval',)")


def planned(
    objectives: Sequence[str],
    configs: str,
    *,
    size: str,
    seeds: int,
    data_dir: str,
    overrides: Sequence[str],
    out: pathlib.Path,
) -> dict[str, list[PlannedRun]]:
    """The runs of each objective, which go to `<out>/<objective>/runs`; see `plan_runs`.

    Raises:
      FileNotFoundError, ValueError: as `sweep.plan.plan_runs`.
    """
    return {
        name: plan_runs(
            configs,
            size=size,
            seeds=seeds,
            folds=0,
            leaky=False,
            data_dir=data_dir,
            overrides=(*OBJECTIVES[name][1], *MEASURED_HERE, *overrides),
            out=out / name,
        )
        for name in objectives
    }


def facts(manifest: Mapping[str, Any], runs: Sequence[PlannedRun]) -> list[str]:
    """Sentences on the data and the training behind the numbers."""
    each = ", ".join(f"{of['patients']} {name}" for name, of in manifest["splits"].items())
    views = ", ".join(
        f"{images} {plane} {sequence}"
        for plane, of in manifest["views"].items()
        for sequence, images in of.items()
    )
    steps, batch, side = (
        sorted({_field(run.config, name) for run in runs})
        for name in ("total_steps", "data.global_batch_size", "data.image_size_px")
    )
    seeds = len({run.seed for run in runs})
    apart = manifest.get("report_groups_apart", 0)
    return [
        f"Data: {manifest['source']}; patients: {each}; images: {views}. The authors had T2, too.",
        f"{apart} reports that are word for word the same are in several splits, as the authors' "
        "split has their patients.",
        f"Training: {_or(steps)} steps of {_or(batch)} pairs, images of {_or(side)} px, from new "
        "weights unless the command says otherwise; "
        + (f"numbers are means over {seeds} seeds." if seeds > 1 else "one seed of each."),
    ]


def _field(config: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        config = config[part]
    return config


def _or(values: Sequence[Any]) -> str:
    return " or ".join(map(str, values))
