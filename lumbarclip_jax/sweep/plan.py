"""Which runs a sweep has: every config, on every split, with every seed."""

import dataclasses
import glob
import json
import pathlib
import re
from collections.abc import Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

from lumbarclip_jax.data.resplit import LEAKY
from lumbarclip_jax.evaluators import unit_of
from lumbarclip_jax.process import cli
from lumbarclip_jax.training import config_check

# Beside its flags, a sweep sets these itself.
OWN_FIELDS = {"seed": "--seeds", "data.dir": "--data_dir", "data.resplit": "--folds"}


@dataclasses.dataclass(frozen=True)
class PlannedRun:
    """One run: `python -m lumbarclip_jax.main` with these arguments."""

    model: str  # name of the config file
    resplit: str
    seed: int
    config: dict  # resolved, as the run will see it
    arguments: tuple[str, ...]
    folder: pathlib.Path

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def encoder(self) -> str:
        return self.config["model"]["image_encoder"]["name"]

    @property
    def head(self) -> str:
        return self.config["model"]["projection"]["kind"]

    @property
    def is_leaky(self) -> bool:
        return self.resplit == LEAKY


def split_arguments(given: list[str], prefix: str = "--config.") -> tuple[list[str], list[str]]:
    """(arguments of this command, fields of the runs, unknown to absl, as --config.x=value)."""
    own, passed_on, rest = [], [], iter(given)
    for argument in rest:
        if not argument.startswith(prefix):
            own.append(argument)
        elif "=" in argument:
            passed_on.append(argument)
        else:
            passed_on.append(f"{argument}={next(rest, '')}")
    return own, passed_on


def plan_runs(
    patterns: str,
    *,
    size: str,
    seeds: int,
    folds: int,
    leaky: bool,
    data_dir: str,
    overrides: Sequence[str],
    out: pathlib.Path,
) -> list[PlannedRun]:
    """All runs, the first seed of everything first, so that an early table has every row.

    Args:
      patterns: paths of configs, see `expand`.
      size: argument of the configs, `full` or `quick`.
      seeds: how many, from 0 on.
      folds: folds by patient; 0 for the splits of the data set.
      leaky: also every run on the leaky split.
      data_dir: the data set; empty for the embedded phantom.
      overrides: `--config.x=y`, for every run.
      out: folder of the sweep; runs go to `runs/` in it.

    Raises:
      ValueError: a pattern, an override or a config is wrong, or one config is measured by study
        and another by image.
      FileNotFoundError: a pattern matches no file.
    """
    for override in overrides:
        field, equals, _ = override.removeprefix("--config.").partition("=")
        if not equals:
            raise ValueError(f"{override} has no value: write {override}=VALUE")
        if field in OWN_FIELDS:
            raise ValueError(f"{override} is set by the sweep: use {OWN_FIELDS[field]} instead")
    clean = [f"fold_{k}_of_{folds}" for k in range(1, folds + 1)] if folds else [""]
    paths = expand(patterns)
    runs, measured_by = [], {}
    for seed in range(seeds):
        for resplit in [*clean, *([LEAKY] if leaky else [])]:
            for path in paths:
                arguments = (
                    f"--config={path}:{size}",
                    *overrides,
                    f"--config.seed={seed}",
                    f"--config.data.dir={data_dir}",
                    f"--config.data.resplit={resplit}",
                )
                config = load_config(path, arguments)
                config = config_check.validated(config)
                measured_by[unit_of(config)] = path.stem
                name = "_".join(filter(None, (path.stem, resplit, f"seed{seed}")))
                # As JSON will give it back: tuples are lists.
                resolved = json.loads(json.dumps(config.to_dict()))
                folder = out / "runs" / name
                runs.append(PlannedRun(path.stem, resplit, seed, resolved, arguments, folder))
    if len(measured_by) > 1:
        raise ValueError(
            f"{measured_by['study']} is measured by study and {measured_by['image']} by image, "
            "whose rows no table compares: add --config.eval.unit=study, or image"
        )
    return runs


def expand(pattern: str) -> list[pathlib.Path]:
    """Files of a pattern with `{a,b}` for alternatives and `*`, `?`, `[..]` as in a shell.

    Raises:
      ValueError: a brace is not closed, or two files have one name.
      FileNotFoundError: one of the alternatives matches nothing.
    """
    paths = []
    for alternative in _alternatives(pattern):
        found = sorted(glob.glob(alternative))
        if not found:
            raise FileNotFoundError(
                f"--configs: no file matches {alternative!r}: run files are in configs/"
            )
        paths += [pathlib.Path(path) for path in found]
    paths = list(dict.fromkeys(paths))
    stems = [path.stem for path in paths]
    if twice := {stem for stem in stems if stems.count(stem) > 1}:
        raise ValueError(f"--configs has two files called {min(twice)}.py: rename one of them")
    return paths


def _alternatives(pattern: str) -> list[str]:
    innermost = re.search(r"\{([^{}]*)\}", pattern)
    if innermost is None:
        if set("{}") & set(pattern):
            raise ValueError(f"--configs={pattern!r} has a brace without its partner")
        return [pattern]
    before, after = pattern[: innermost.start()], pattern[innermost.end() :]
    found = []
    for choice in innermost[1].split(","):
        found += _alternatives(before + choice + after)
    return list(dict.fromkeys(found))


def load_config(path: pathlib.Path, arguments: Sequence[str]) -> ConfigDict:
    """The config that `main` would see with these arguments.

    Raises:
      ValueError: the file is no run file, or an override does not fit it.
    """
    if "def get_config(" not in path.read_text():
        raise ValueError(f"{path} has no get_config: it is not a run file")
    values = flags.FlagValues()
    argv = ["", *arguments]
    try:
        config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=argv)
        values(argv)
        return values.config
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        raise ValueError(f"{path}: {cli.sentence(error)}") from error
