"""The page of comparisons, made from the rows and nothing else."""

from collections.abc import Iterable

from lumbarclip_jax.bench.compare.options import CONFIGS
from lumbarclip_jax.bench.compare.rows import chip_of

DEVICES = {"cpu": "CPU", "cuda": "NVIDIA GPU"}
GIB = 2**30
COMMANDS = {
    "cpu": "python -m lumbarclip_jax.bench.compare --all",
    "cuda": "python -m lumbarclip_jax.bench.compare --all --device=cuda --batch_size=256",
}

INTRODUCTION = """\
# JAX beside PyTorch

The whole optimizer step of every config: resizing, both encoders, soft CLIP loss, gradients,
clipping, AdamW. The PyTorch side is `lumbarclip_jax/baseline`, from `transformers`: scaled
dot-product attention, channels-last convolutions, fused AdamW, and on a GPU `torch.compile` and
bfloat16 autocast. Both sides start from the same weights and see the same batches; inputs are on
the device before the clock starts.

Each section is made by its command, which measures and writes this page; `--nomeasure` only writes
it, from the rows in `rows/`, which hold every time and loss.

How to read the columns:

- **ratio**: time of a JAX step by that of the PyTorch step beside it, median of all such pairs with
  a 95 % bootstrap interval. Below 1, JAX is faster. The two processes take turns.
- **JAX**, **PyTorch**: median step.
- **losses**: largest relative difference over the first steps, in float32, without dropout and
  augmentation draws, at a hundredth of the learning rate: an untrained ResNet-50 leaves its own
  trajectory within a few full steps if its weights are changed by 1e-7. More than 1e-4 is an error
  and makes no row. "Not checked" (`--nocheck`): those of the timed run itself, in its own type.
- **memory**: peak while training, of the GPU's allocations or on CPU of the resident process.
- **trace**: of JAX, Python to HLO, which every start pays.
- **compile**: of JAX, HLO to a program; **from cache**: the same in a new process that finds it in
  the persistent cache. PyTorch, what the first step took longer than the others. On a GPU both
  sides compile at the same time.

On CPU both processes keep the memory they free (`lumbarclip_jax/process/host_memory.py`), as the
commands of this package do and a PyTorch user may: page faults would else be up to half of a step.

PyTorch's matrix library on x86, MKL, takes its AVX-512 kernels on Intel's processors only. "MKL for
Intel" on another processor means that a library in front of it answered for the processor, which
doubles the rate of its products. It is the stronger of the two baselines:

    echo 'int mkl_serv_intel_cpu_true() { return 1; }' | cc -shared -fPIC -o mkl_for_intel.so -x c -
    LD_PRELOAD=$PWD/mkl_for_intel.so python -m lumbarclip_jax.bench.compare --all
"""

COLUMNS = [
    "config",
    "type",
    "batch",
    "ratio",
    "JAX, ms",
    "PyTorch, ms",
    "JAX, pairs/s",
    "losses",
    "memory JAX, GiB",
    "memory PyTorch, GiB",
    "trace JAX, s",
    "compile JAX, s",
    "from cache, s",
    "compile PyTorch, s",
]


def render(rows: list[dict]) -> str:
    """The page as Markdown."""
    parts = [INTRODUCTION]
    for device, title in DEVICES.items():
        parts.append(f"## {title}\n\n    {COMMANDS[device]}\n")
        by_chip: dict[str, list[dict]] = {}
        for row in rows:
            if row["device"] == device:
                by_chip.setdefault(chip_of(row), []).append(row)
        for chip, own in sorted(by_chip.items()) or [("", [])]:
            cells = [cell for config in CONFIGS for cell in _cells_of(config, own)]
            parts += [f"### {chip}\n"] if chip else []
            parts.append(_markdown(COLUMNS, cells))
            parts += [_circumstances(own), _losses(own)] if own else []
    return "\n".join(parts)


def _cells_of(config: str, rows: list[dict]) -> list[list[str]]:
    own = [row for row in rows if row["config"] == config]
    own.sort(key=lambda row: (row["is_random"], row["dtype"], row["batch_size"]))
    return [_cells(row) for row in own] or [[config, "not measured", *["–"] * (len(COLUMNS) - 2)]]


def _cells(row: dict) -> list[str]:
    ratio, compiled = row["ratio"], row["compile"]
    step_s = {side: _median(times) for side, times in row["step_s"].items()}
    cold_s, warm_s = (compiled[run]["compile_s"] for run in ("JAX", "JAX warm"))
    return [
        row["config"],
        row["dtype"] + (", random" if row["is_random"] else ""),
        f"{row['batch_size']}",
        f"**{ratio['median']:.2f}** [{ratio['low']:.2f}, {ratio['high']:.2f}]",
        f"{step_s['JAX'] * 1e3:,.0f}",
        f"{step_s['PyTorch'] * 1e3:,.0f}",
        f"{row['batch_size'] / step_s['JAX']:,.1f}",
        _difference(row["agreement"]),
        f"{row['peak_bytes']['JAX'] / GIB:.2f}",
        f"{row['peak_bytes']['PyTorch'] / GIB:.2f}",
        f"{compiled['JAX']['trace_s']:.1f}",
        f"{cold_s:.1f}",
        f"{warm_s:.1f} ({warm_s / cold_s:.0%})",
        f"{compiled['PyTorch']['first_step_s']:.1f}",
    ]


def _difference(agreement: dict) -> str:
    is_checked = agreement["tolerance"] is not None
    return f"{agreement['largest_difference']:.0e}" + ("" if is_checked else ", not checked")


def _median(values: list[float]) -> float:
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[~middle]) / 2


def _circumstances(rows: list[dict]) -> str:
    """What stands behind the figures, each variety once."""

    def varieties(describe) -> str:
        return "; ".join(sorted({describe(row) for row in rows}))

    def machine(row: dict) -> str:
        own = row["machine"]
        accelerator = f"{own['accelerator']}, " if own["accelerator"] else ""
        return f"{accelerator}{own['processor']}, {own['cores']} cores"

    def settings(row: dict) -> str:
        return (
            f"images of {row['image_size_px']} px, {row['max_tokens']} tokens, "
            f"{len(row['step_s']['JAX'])} turns of {row['steps_per_turn']} steps, torch.compile "
            f"{row['torch_compile']}"
        )

    loads = sorted(row["machine"]["load_average"] for row in rows)
    dates = sorted({row["machine"]["date"] for row in rows})
    lines = [
        varieties(machine),
        f"load average before measuring {loads[0]:.1f} to {loads[-1]:.1f} (an idle machine has 0)",
        varieties(settings),
        varieties(lambda row: ", ".join(f"{n} {v}" for n, v in row["versions"].items())),
        " to ".join(dict.fromkeys([dates[0], dates[-1]])),
    ]
    return "".join(f"- {line}\n" for line in lines)


def _losses(rows: list[dict]) -> str:
    """The first losses of both sides, a row a step."""
    by_config = {row["config"]: row["agreement"]["losses"] for row in rows}
    shown = [config for config in CONFIGS if config in by_config]
    header = ["step", *(f"{config} {side}" for config in shown for side in ("JAX", "PyTorch"))]
    columns = [by_config[config][side] for config in shown for side in ("JAX", "PyTorch")]
    steps = max(map(len, columns), default=0)
    cells = (
        [str(step), *(f"{c[step]:.5f}" if step < len(c) else "" for c in columns)]
        for step in range(steps)
    )
    return "The first losses side by side:\n\n" + _markdown(header, cells)


def _markdown(header: list[str], cells: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
