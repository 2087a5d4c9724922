"""python -m lumbarclip_jax.bench.aot --config=configs/vit_linear.py --topology=v5e:16x16 \\
    --global_batch_size=32768 --config.model.remat=True --out=row.json

Compiles the whole train step for TPUs or GPUs that are not there, and says what it needs: memory a
chip, arithmetic, collectives, and the time that these take at the published rates of the chip. It
runs on a CPU, with the compiler of the package libtpu (the extra tpu-aot) or of JAX's CUDA plugin
(the extra cuda13). A step that does not fit in memory is a result like any other.

Topologies are named by generation and shape in chips, v4:2x4x4, v5e:16x16, v5p:4x4x4, v6e:4x4, or
by the number of GPUs in one machine: a100:1, h100:8, h200:8. A GPU's memory is the 75 % of it that
JAX takes by default, and its attention is XLA's: other forms take less memory and time, but only a
trial on the GPU chooses them.
"""

import json
import logging
import os
import pathlib

from absl import flags
from ml_collections import config_flags

from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.bench.aot")

GIB = 2**30


def _define_flags() -> None:
    config_flags.DEFINE_config_file("config", None, "run file, e.g. configs/vit_linear.py")
    flags.DEFINE_string("topology", "v5e:4x4", "chip and shape, e.g. v5e:16x16 or h200:8")
    flags.DEFINE_integer("global_batch_size", None, "pairs a step (default: the config's)", 1)
    flags.DEFINE_integer("vocab_size", 30_522, "rows of the token table", 1)
    flags.DEFINE_float(
        "effort",
        0.0,
        "of the TPU compiler: 0 what a run gets, -1 least. Low efforts compile five times faster; "
        "memory and collectives differ by a few percent, memory traffic by more.",
        -1.0,
        1.0,
    )
    flags.DEFINE_string("out", None, "JSON file for the figures (default: only printed)")
    flags.mark_flag_as_required("config")


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    # The compiler asks for the machine it runs on; without these it waits for a metadata server.
    os.environ |= {
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_ACCELERATOR_TYPE": "v5litepod-1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        # Its lock is for devices, and there are none.
        "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    }
    # Imported here, after the flags are checked: a typo should not wait for JAX to start.
    from lumbarclip_jax.bench.compile_step import compile_step

    config = options.config
    if options.global_batch_size:
        config.data.global_batch_size = options.global_batch_size
    row = compile_step(config, options.topology, options.vocab_size, options.effort)
    for line in summary(row):
        log.info("%s", line)
    if options.out:
        out = pathlib.Path(options.out)
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_suffix(".partial")
        partial.write_text(json.dumps(row, indent=1) + "\n")
        partial.rename(out)


def summary(row: dict) -> list[str]:
    """A row of `compile_step` in words."""
    lines = [
        f"{row['config']} on {row['topology']}: {row['chips']} chips, "
        f"{row['global_batch_size']} pairs a step, {row['pairs_per_chip']} a chip"
    ]
    memory, flops, compiled = row["memory"], row["flops"], row["compile"]
    verdict = "fits" if row["fits"] else "DOES NOT FIT"
    lines.append(
        f"{verdict}: {memory['needed_bytes'] / GIB:.2f} GiB a chip of "
        f"{memory['hbm_bytes'] / GIB:.4g} GiB"
    )
    if row["fits"]:
        parts = ("arguments", "outputs", "aliased", "temporaries", "code")
        sizes = (f"{part} {memory[f'{part}_bytes'] / GIB:.2f}" for part in parts)
        lines.append(f"  {', '.join(sizes)} GiB")
    others = {name: x for name, x in flops.items() if name != "model" and x}
    lines.append(
        f"FLOPs a step: model {flops['model']:.3e}"
        + "".join(f", {name} {x:.2e}" for name, x in others.items())
    )
    if row["fits"]:
        for kind, collective in row["collectives"].items():
            lines.append(
                f"{kind}: {collective['count']} a step, {collective['bytes'] / 1e6:.1f} MB"
            )
        roof = row["roofline"]
        lines.append(
            f"at published rates a step takes {roof['step_s'] * 1e3:.3g} ms or more, limited by "
            f"{roof['limit']}: compute {roof['compute_s'] * 1e3:.3g}, HBM "
            f"{roof['hbm_s'] * 1e3:.3g}, links {roof['ici_s'] * 1e3:.3g} ms; "
            f"{roof['pairs_per_s']:.3g} pairs/s or fewer"
        )
    lines.append(
        f"compiled in {compiled['wall_s']:.0f} s ({compiled['cpu_s']:.0f} s of CPU, "
        f"effort {compiled['effort']:g})"
    )
    return lines


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
