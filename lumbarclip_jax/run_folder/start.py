"""What a new run starts from: published weights, or an earlier run."""

import dataclasses
import logging
import pathlib
from typing import Any

import jax
from ml_collections import ConfigDict

from lumbarclip_jax.models.stacking import stack_layers, unstack_layers
from lumbarclip_jax.run_folder.files import CONFIG_FILE, VOCABULARY_FILE
from lumbarclip_jax.run_folder.run import load_run
from lumbarclip_jax.training import warm_start
from lumbarclip_jax.training.warm_start import WarmStart

log = logging.getLogger(__name__)

# Of `config.model`: how it is computed, what it is to be trained on, and where it started.
OF_THE_NEW_RUN = ("remat", "scan_layers", "heads", "lora", "study_pooling", "pretrained")


@dataclasses.dataclass(frozen=True)
class EarlierRun:
    """The towers, projections and scale of a run; it does not have to be there again."""

    vocabulary: pathlib.Path
    params: dict[str, Any]
    batch_stats: dict[str, Any]

    def variables(self, model) -> dict:
        """As `WarmStart.variables`."""
        params = self.params
        if getattr(model.image_encoder, "scan_layers", False) or model.text_encoder.scan_layers:
            params = stack_layers(params)
        return {"params": params, "batch_stats": self.batch_stats}


def adopt(config: ConfigDict) -> tuple[ConfigDict, WarmStart | EarlierRun]:
    """Opens what `config.model.pretrained`, and of single towers, names.

    Returns:
      (the config with what that settles in it, the weights), as `warm_start.adopt` does for
      published ones. A run, or its safetensors export, settles the model, its vocabulary and the
      size of its images; heads for labels are left behind, and attention over the images of a
      study where the new run does not pool by it.

    Raises:
      FileNotFoundError, ValueError: as `warm_start.adopt` and `load_run`; the run has images of
        another size.
    """
    folder = pathlib.Path(config.model.pretrained)
    if not config.model.pretrained or not _is_run(folder):
        return warm_start.adopt(config)
    run, config = load_run(folder), config.copy_and_resolve_references()
    was, now = run.config.data.image_size_px, config.data.image_size_px
    if was != now:
        raise ValueError(
            f"{folder} was trained on images of {was} px: set --config.data.image_size_px={was}, "
            f"not {now}"
        )
    own = {name: config.model[name] for name in OF_THE_NEW_RUN}
    config.model = ConfigDict(run.config.model.to_dict() | own)
    config.data.lowercase = run.config.data.lowercase
    params = unstack_layers(jax.device_get(run.state.params))
    left = () if config.model.study_pooling == "attention" else ("study_pool",)
    kept = {
        name: tree
        for name, tree in params.items()
        if not name.startswith("head_") and name not in left
    }
    log.info("the model of %s at step %d, with its vocabulary", folder, int(run.state.step))
    statistics = jax.device_get(run.state.batch_stats)
    return config, EarlierRun(folder / VOCABULARY_FILE, kept, statistics)


def _is_run(folder: pathlib.Path) -> bool:
    return (
        all((folder / name).is_file() for name in (CONFIG_FILE, VOCABULARY_FILE))
        and not (folder / "open_clip_config.json").is_file()
    )
