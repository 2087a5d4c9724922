"""What a fine-tune is asked for on the command line, and what goes together."""

import dataclasses

from ml_collections import ConfigDict

from lumbarclip_jax.finetune.recipe import default_recipe, faults


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

    @property
    def name(self) -> str:
        """What the numbers are filed under."""
        return self.baseline or ("from_scratch" if self.from_scratch else "finetune")
