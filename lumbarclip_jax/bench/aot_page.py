"""The page of ahead-of-time compilations, made from the rows and nothing else."""

from collections.abc import Iterable

from lumbarclip_jax.bench.aot_rows import CONFIGS, EFFORT, TOPOLOGIES
from lumbarclip_jax.bench.chips import CHIPS, GIB, chip_of

INTRODUCTION = """\
# The train step, compiled for TPU slices

Made by

    pip install 'lumbarclip_jax[tpu-aot]'
    python -m lumbarclip_jax.bench.aot_table

on a machine without a TPU. Every row is the whole optimizer step (augmentation, both encoders, the
soft CLIP loss over all chips, gradients, AdamW) as the TPU compiler translated it for that slice.
The figures of each, and more, are in `rows/`.

{settings}

Compiled with {versions}.

`remat` computes each block again in the backward pass, in all three image encoders and in BERT.
`scan_layers` compiles one block of ViT and BERT and loops over it; the blocks of Swin and ResNet
differ in shape and are compiled one by one, whatever it says. With ResNet, `remat` also repeats the
all-reduces of the forward pass's batch normalisation.

How to read the columns:

- **memory**: the most HBM in use at any time on one chip, arguments included, and the chip's own.
  What does not fit is shown with what it would need, as the compiler says it.
- **largest**: twice this batch does not fit; the row below says how much it lacks.
- **model**: FLOPs of the model a step on all chips: two a multiply-add, three times the forward
  pass. **extra**: what is done besides, as a share of it: blocks computed again, and the float32
  products of the loss, six passes each through the matrix unit.
- **step ≥**: no step is faster at the published rates of the chip, with arithmetic, memory traffic
  and links perfectly overlapped; **limit** is the slowest of the three. Memory traffic counts
  arguments, outputs, and arrays too large for the chip's vector memory, written once and read
  once. It is a bound, not a forecast. **pairs/s ≤** and **MFU ≤** follow from it.
- **all-gather**, **all-reduce**: how often a step, and bytes of the results on one chip. Those
  inside loops count each turn. The compiler may write an all-gather as an all-reduce of arrays
  that are zero but for a chip's own rows.
- **compile**: seconds of CPU.
"""


def render(rows: list[dict]) -> str:
    """The page as Markdown."""
    if not rows:
        return "No rows yet: run `python -m lumbarclip_jax.bench.aot_table`.\n"
    table = [row for row in rows if _is_plain(row) and row["compile"]["effort"] == EFFORT]
    parts = [INTRODUCTION.format(settings=_settings(rows), versions=_versions(rows)), _chips()]
    parted = [row for row in rows if not _is_plain(row)]
    if parted:
        parts.append(
            "## A million pairs in one loss\n\n"
            "The batch is encoded in parts (`optim.accumulation_steps`) and compared as a whole; "
            "*extra* includes the forward pass that this costs.\n\n"
            + _markdown(["parts", *COLUMNS], ([_parts(row), *_cells(row, False)] for row in parted))
        )
    for topology, slice in TOPOLOGIES.items():
        own = sorted((r for r in table if r["topology"] == topology), key=_order)
        if own:
            parts.append(
                f"## {slice.cloud_name}: {slice.chips} chips, {topology}\n\n"
                + _markdown(COLUMNS, (_cells(row, _is_largest(row, own)) for row in own))
            )
    parts.append(_efforts(rows))
    return "\n".join(part for part in parts if part)


def _is_plain(row: dict) -> bool:
    return row["options"]["accumulation_steps"] == 1


def _order(row: dict) -> tuple:
    return CONFIGS.index(row["config"]), row["global_batch_size"]


def _is_largest(row: dict, rows: list[dict]) -> bool:
    same = [r for r in rows if r["config"] == row["config"]]
    larger = [r for r in same if r["global_batch_size"] > row["global_batch_size"]]
    tight = any(r["global_batch_size"] == 2 * row["global_batch_size"] for r in larger)
    return row["fits"] and tight and not any(r["fits"] for r in larger)


def _settings(rows: list[dict]) -> str:
    """What all rows have in common."""
    first = rows[0]["options"]
    common = {
        name: value
        for name, value in first.items()
        if all(row["options"][name] == value for row in rows)
    }
    return "All rows: " + ", ".join(f"{name} {value}" for name, value in common.items()) + "."


def _versions(rows: list[dict]) -> str:
    versions = sorted({f"{n} {v}" for row in rows for n, v in row["versions"].items()})
    return ", ".join(versions)


def _chips() -> str:
    cells = (
        [
            name,
            f"{chip.bf16_flops_per_s / 1e12:g} TFLOP/s",
            f"{chip.hbm_bytes / GIB:g} GiB",
            f"{chip.hbm_bytes_per_s / 1e9:g} GB/s",
            f"{chip.ici_bytes_per_s / 1e9:g} GB/s",
        ]
        for name, chip in CHIPS.items()
    )
    header = ["chip", "bfloat16", "HBM", "HBM rate", "links, one direction"]
    return "The rates, from the sources in `lumbarclip_jax/bench/chips.py`:\n\n" + _markdown(
        header, cells
    )


COLUMNS = [
    "config",
    "global batch",
    "a chip",
    "memory, GiB",
    "model, TFLOP",
    "extra",
    "step ≥, ms",
    "limit",
    "pairs/s ≤",
    "MFU ≤",
    "all-gather",
    "all-reduce",
    "other collectives",
    "compile, s",
]


def _cells(row: dict, is_largest: bool) -> list[str]:
    memory, flops, chip = row["memory"], row["flops"], chip_of(row["topology"])
    needed = f"{memory['needed_bytes'] / GIB:.1f} of {memory['hbm_bytes'] / GIB:g}"
    cells = [
        row["config"],
        f"{row['global_batch_size']:,}" + (", largest" if is_largest else ""),
        f"{row['pairs_per_chip']:,}",
        needed if row["fits"] else f"**does not fit**: {needed}",
        f"{flops['model'] / 1e12:,.0f}",
    ]
    if not row["fits"]:
        return cells + ["–"] * (len(COLUMNS) - len(cells) - 1) + [f"{row['compile']['cpu_s']:.0f}"]
    roof = row["roofline"]
    executed = roof["compute_s"] * row["chips"] * chip.bf16_flops_per_s
    mfu = flops["model"] / (roof["step_s"] * row["chips"] * chip.bf16_flops_per_s)
    others = {k: c for k, c in row["collectives"].items() if k not in ("all-gather", "all-reduce")}
    return [
        *cells,
        f"{executed / flops['model'] - 1:.0%}",
        f"{roof['step_s'] * 1e3:,.1f}",
        roof["limit"],
        f"{roof['pairs_per_s']:,.0f}",
        f"{mfu:.0%}",
        _collective(row["collectives"].get("all-gather")),
        _collective(row["collectives"].get("all-reduce")),
        ", ".join(f"{kind} {_collective(c)}" for kind, c in others.items()) or "none",
        f"{row['compile']['cpu_s']:.0f}",
    ]


def _collective(collective: dict | None) -> str:
    if collective is None:
        return "none"
    return f"{collective['count']} ×, {collective['bytes'] / 1e6:,.1f} MB"


def _parts(row: dict) -> str:
    return f"{row['options']['accumulation_steps']} on {row['topology']}"


def _efforts(rows: list[dict]) -> str:
    """Steps that were compiled with two efforts, beside each other."""
    others = [row for row in rows if row["compile"]["effort"] != EFFORT]
    if not others:
        return ""

    def key(row: dict) -> tuple:
        return row["config"], row["topology"], row["global_batch_size"], _parts(row)

    keys = {key(row) for row in others}
    pairs = sorted(
        (row for row in rows if key(row) in keys), key=lambda r: (key(r), r["compile"]["effort"])
    )
    header = ["effort", "slice", *COLUMNS]
    cells = ([f"{r['compile']['effort']:g}", r["topology"], *_cells(r, False)] for r in pairs)
    return (
        f"## What the compiler's effort changes\n\nAll tables above are compiled with "
        f"`exec_time_optimization_effort` {EFFORT:g}, the least, because it takes a fraction of "
        "the time. A run on a TPU has 0.\n\n" + _markdown(header, cells)
    )


def _markdown(header: list[str], cells: Iterable[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *cells]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
