"""python -m lumbarclip_jax.bench.compare --all [--device=cuda --batch_size=256]

Measures the train step of run files beside the PyTorch baseline: first that both compute the same
losses, then step time, memory and compile time. Writes a row for each to docs/benchmarks/rows and
the page docs/benchmarks/compare.md made from all rows. Needs the extra torch.
"""

import importlib.util
import logging
import pathlib

from absl import flags

from lumbarclip_jax.bench.compare import page, rows
from lumbarclip_jax.bench.compare.options import CONFIGS, Options, load_config
from lumbarclip_jax.bench.compare.pair import compare
from lumbarclip_jax.process import cli

log = logging.getLogger("lumbarclip_jax.bench.compare")

COMPILE_MODES = ("off", "default", "reduce-overhead", "max-autotune")


def _define_flags() -> None:
    flags.DEFINE_multi_string("config", [], "run file, e.g. configs/vit_linear.py[:quick]; repeat")
    flags.DEFINE_bool("all", False, f"all of {', '.join(CONFIGS)}")
    flags.DEFINE_enum("device", "cpu", ("cpu", "cuda"), "what both sides run on")
    flags.DEFINE_enum(
        "dtype",
        None,
        ("float32", "bfloat16"),
        "of the matrix products (default: float32 on CPU, bfloat16 on a GPU)",
    )
    flags.DEFINE_enum(
        "torch_compile",
        None,
        COMPILE_MODES,
        "mode of torch.compile (default: off on CPU, default on a GPU)",
    )
    flags.DEFINE_integer("batch_size", 8, "pairs a step", 1)
    flags.DEFINE_integer("image_size_px", None, "side of the images (default: the config's)", 1)
    flags.DEFINE_integer("stored_size_px", 320, "side of the stored slices", 1)
    flags.DEFINE_integer("vocab_size", 30_522, "rows of the token table", 10)
    flags.DEFINE_integer("steps", 20, "timed steps", 1)
    flags.DEFINE_integer(
        "steps_per_turn",
        None,
        "steps timed together (default: 1 on CPU; 5 on a GPU, which else idles between them)",
        1,
    )
    flags.DEFINE_bool("random", False, "with dropout and augmentation as in training")
    flags.DEFINE_bool(
        "check",
        True,
        "run 20 float32 steps for the losses before a run in another type or with --random",
    )
    flags.DEFINE_string("out", "docs/benchmarks", "folder of the page and its rows")
    flags.DEFINE_bool("measure", True, "false: only write the page from the rows there are")


def main() -> None:
    """Runs the command."""
    given = flags.FLAGS
    out = pathlib.Path(given.out)
    names = [f"configs/{name}.py" for name in CONFIGS] if given.all else given.config
    failures = _measure(names, _options(given), out / "rows") if given.measure else []
    out.mkdir(parents=True, exist_ok=True)
    (out / "compare.md").write_text(page.render(rows.load_all(out / "rows")))
    log.info("%s", out / "compare.md")
    if failures:
        raise ValueError(f"{len(failures)} of {len(names)} not measured: {'; '.join(failures)}")


def _options(given: flags.FlagValues) -> Options:
    on_gpu = given.device == "cuda"
    return Options(
        batch_size=given.batch_size,
        steps=given.steps,
        steps_per_turn=given.steps_per_turn or (5 if on_gpu else 1),
        device=given.device,
        dtype=given.dtype or ("bfloat16" if on_gpu else "float32"),
        torch_compile=given.torch_compile or ("default" if on_gpu else "off"),
        is_random=given.random,
        vocab_size=given.vocab_size,
        stored_size_px=given.stored_size_px,
    )


def _measure(names: list[str], options: Options, folder: pathlib.Path) -> list[str]:
    """Saves the rows; returns what was wrong with those there are none of, a sentence each."""
    if not names:
        raise ValueError("nothing to measure: pass --config=configs/vit_linear.py or --all")
    if importlib.util.find_spec("torch") is None:
        raise ValueError("the PyTorch baseline needs torch: pip install 'lumbarclip_jax[torch]'")
    configs = [load_config(name) for name in names]
    failures = []
    for config in configs:
        if flags.FLAGS.image_size_px:
            config.data.image_size_px = flags.FLAGS.image_size_px
        try:
            row = compare(config, options, flags.FLAGS.check)
        except (ValueError, RuntimeError) as error:
            # The others may be the measurement of a machine that is lent by the minute.
            log.info("%s: %s", config.name, error)
            failures.append(f"{config.name}: {str(error).splitlines()[-1]}")
            continue
        ratio = row["ratio"]
        log.info(
            "%s: JAX takes %.2f [%.2f, %.2f] of PyTorch's time",
            config.name,
            *(ratio[name] for name in ("median", "low", "high")),
        )
        rows.save(row, folder)
    return failures


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
