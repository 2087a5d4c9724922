"""What a fine-tune is asked for on the command line, and what goes together."""

import dataclasses
import json
import pathlib
from collections.abc import Mapping

from ml_collections import ConfigDict

from data_prep.records.manifest import FILE as MANIFEST_FILE
from lumbarclip_jax.data.tasks import Task, named, tasks_of
from lumbarclip_jax.finetune.recipe import default_recipe, faults
from lumbarclip_jax.run_folder.files import DATA_MANIFEST_FILE


@dataclasses.dataclass(frozen=True)
class Options:
    """The flags of the command, by what they mean.

    Raises:
      ValueError: they contradict each other, or one is missing.
    """

    workdirs: list[str]
    from_scratch: bool
    baseline: str | None
    tasks: list[str]
    data_dir: str
    folds: int
    split: str
    strategy: str
    label_fraction: float
    seed: int
    recipe: ConfigDict
    out: str | None
    resamples: int

    def __post_init__(self):
        if known := self._known_tasks():
            named(self.tasks, known, self.data_dir or " and ".join(self.workdirs))
        if broken := list(faults(self.recipe)):
            raise ValueError("; ".join(f"--recipe.{fault}" for fault in broken))
        if self.baseline and (self.workdirs or self.from_scratch):
            raise ValueError(
                "--baseline is trained by itself: leave out --workdir and --from_scratch"
            )
        if self.baseline and self.recipe != default_recipe():
            raise ValueError("--recipe is not for --baseline, which has settings of its own")
        if not (self.workdirs or self.from_scratch or self.baseline):
            raise ValueError(
                "pass --workdir, --from_scratch or --baseline, to say what to start from"
            )
        if self.workdirs and self.folds:
            raise ValueError("--folds is not for --workdir: name the runs of all folds instead")
        if not (self.workdirs or self.data_dir):
            raise ValueError(
                "--data_dir is missing: without --workdir there is no run that knows it"
            )
        if not self.out and (len(self.workdirs) != 1 or self.from_scratch):
            raise ValueError(
                "--out is missing: only what starts from the weights of one --workdir has a folder "
                "there by default"
            )

    def _known_tasks(self) -> Mapping[str, Task]:
        """Those of the first data set, read before it is opened, and so before JAX starts.

        None where there is nothing to be read, of which is told where it is opened.
        """
        path = pathlib.Path(self.data_dir) / MANIFEST_FILE
        if not self.data_dir and self.workdirs:
            path = pathlib.Path(self.workdirs[0]) / DATA_MANIFEST_FILE
        try:
            return tasks_of(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}

    @property
    def name(self) -> str:
        """What the numbers are filed under."""
        return self.baseline or ("from_scratch" if self.from_scratch else "finetune")
