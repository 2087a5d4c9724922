"""Which steps the table of ahead-of-time compilations holds, and where each is kept."""

import dataclasses
import math

CONFIGS = ("vit_linear", "vit_mlp", "swin_linear", "swin_mlp", "resnet_linear", "resnet_mlp")
BATCHES = (4096, 32768)

# Of the compiler. Least effort compiles several times faster; `EFFORTS` shows what it changes.
EFFORT = -1.0


@dataclasses.dataclass(frozen=True)
class Slice:
    cloud_name: str  # of v4 and v5p it counts TensorCores, two a chip
    chips: int


TOPOLOGIES = {
    "v5e:4x4": Slice("v5e-16", 16),
    "v5e:16x16": Slice("v5e-256", 256),
    "v4:2x4x4": Slice("v4-64", 32),
    "v5p:4x4x4": Slice("v5p-128", 64),
    "v6e:4x4": Slice("v6e-16", 16),
}


@dataclasses.dataclass(frozen=True)
class Step:
    """A compilation: one row."""

    config: str
    topology: str
    global_batch_size: int
    accumulation_steps: int = 1
    effort: float = EFFORT


# A million pairs in one loss: the batch is encoded in parts that fit.
MILLION = (Step("vit_linear", "v5e:16x16", 2**20, accumulation_steps=16),)
EFFORTS = tuple(
    Step("vit_linear", "v5e:4x4", batch, effort=effort)
    for batch in BATCHES[:1]
    for effort in (0.0, EFFORT)
)


def file_name(step: Step) -> str:
    """Where the row of a step is kept, in the folder of rows."""
    name = f"{step.config}-{step.topology.replace(':', '-')}-{step.global_batch_size}"
    if step.accumulation_steps > 1:
        name += f"-accumulation{step.accumulation_steps}"
    if step.effort != EFFORT:
        name += f"-effort{step.effort:g}"
    return f"{name}.json"


def step_of(row: dict) -> Step:
    """The step that a row is of."""
    return Step(
        row["config"],
        row["topology"],
        row["global_batch_size"],
        row["options"]["accumulation_steps"],
        row["compile"]["effort"],
    )


def guess_too_large(small: dict, large: dict) -> int:
    """A power of two of pairs a chip that should be the first not to fit.

    Extrapolates what the rows of two batches need to the memory there is.
    """
    pairs = [row["pairs_per_chip"] for row in (small, large)]
    needed = [row["memory"]["needed_bytes"] for row in (small, large)]
    bytes_a_pair = (needed[1] - needed[0]) / (pairs[1] - pairs[0])
    room = pairs[0] + (small["memory"]["hbm_bytes"] - needed[0]) / bytes_a_pair
    return 2 ** math.ceil(math.log2(max(room, 1)))
