"""Compiles the train step of a config for absent devices and reads the figures off the program."""

import dataclasses
import re
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

import lumbarclip_jax
from lumbarclip_jax import sharding
from lumbarclip_jax.bench.absent import compiler, devices_of
from lumbarclip_jax.bench.chips import Chip, Gpu, chip_of
from lumbarclip_jax.bench.flops import StepFlops, step_flops, views_of
from lumbarclip_jax.bench.hlo import Program
from lumbarclip_jax.bench.roofline import roofline
from lumbarclip_jax.data import fields
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import accumulation, config_check, label_heads, train_step
from lumbarclip_jax.training.model_state import KEY_SHAPE

STORED_SIZE_PX = 320  # side of the slices of a data set built with the defaults
UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}


def compile_step(config: ConfigDict, topology: str, vocab_size: int, effort: float = 0.0) -> dict:
    """Compiles the whole train step for `topology` and returns its figures, ready for JSON.

    Args:
      config: of a run; "auto" is bfloat16, as on any accelerator.
      topology: generation and shape in chips, such as "v5e:16x16" or "h200:8".
      vocab_size: rows of the token table.
      effort: of the TPU compiler, -1 to 1; 0 is what a run gets.

    Raises:
      ValueError: the compiler is not installed or has no such effort, the topology does not exist,
        or the config cannot run on it. That the step needs more memory than there is raises
        nothing: `fits` is False.
    """
    chip = chip_of(topology)
    if isinstance(chip, Gpu) and effort:
        raise ValueError(f"--effort is {effort:g}: only the TPU compiler knows efforts, leave it 0")
    config = config_check.validated(config).copy_and_resolve_references()
    if config.dtype == "auto":
        config.dtype = "bfloat16"
    mesh = sharding.make_mesh(config.mesh.fsdp, devices=devices_of(topology))
    accumulation.check_batch_size(config, mesh)

    lower_start = time.perf_counter()
    lowered = _lower(config, mesh, vocab_size)
    wall_start, cpu_start = time.perf_counter(), time.process_time()
    compiled, memory = _compile(lowered, chip, effort)
    compile_times = {
        "lower_s": wall_start - lower_start,
        "wall_s": time.perf_counter() - wall_start,
        "cpu_s": time.process_time() - cpu_start,
        "effort": effort,
    }

    batch = config.data.global_batch_size
    flops = step_flops(config, batch)
    fits = compiled is not None and memory["needed_bytes"] <= memory["hbm_bytes"]
    row = {
        "config": config.name,
        "topology": topology,
        "chips": mesh.size,
        "global_batch_size": batch,
        "pairs_per_chip": batch // mesh.size,
        "options": {
            "remat": config.model.remat,
            "scan_layers": config.model.scan_layers,
            "accumulation_steps": config.optim.accumulation_steps,
            "fsdp": config.mesh.fsdp,
            "dtype": config.dtype,
            "image_size_px": config.data.image_size_px,
            "max_tokens": config.data.max_tokens,
            "vocab_size": vocab_size,
        },
        "fits": fits,
        "memory": memory,
        "flops": dataclasses.asdict(flops),
        "compile": compile_times,
        "versions": {
            "lumbarclip_jax": lumbarclip_jax.__version__,
            "jax": jax.__version__,
        }
        | compiler(topology),
    }
    return row | _of_program(row, compiled, chip, flops) if fits else row


def _compile(lowered, chip: Chip, effort: float):
    """(program, bytes a chip that it needs and has); None where libtpu makes none: too large."""
    if isinstance(chip, Gpu):
        # Else products are Triton's, of a tile that no trial on a GPU has chosen.
        options = {"xla_gpu_enable_triton_gemm": False}
    else:
        options = {"exec_time_optimization_effort": effort}
    try:
        compiled = lowered.compile(compiler_options=options)
    except jax.errors.JaxRuntimeError as error:
        memory = lacking_memory(str(error))
        if memory is None:
            raise
        return None, memory
    # The most that is in use at any time, arguments included.
    needed_bytes = compiled.memory_analysis().peak_memory_in_bytes
    return compiled, {"hbm_bytes": chip.hbm_bytes, "needed_bytes": needed_bytes}


def _lower(config: ConfigDict, mesh: Mesh, vocab_size: int):
    config = label_heads.adopt(config, TASKS)
    model = build_model(config.model, vocab_size, train_step.compute_dtype(config))
    state, optimizer = train_step.abstract_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)

    def abstract(shape, dtype, spec):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=NamedSharding(mesh, spec))

    pairs, tokens = config.data.global_batch_size, config.data.max_tokens
    batch = {}
    for field in Objective(config.objective).fields:
        shape, dtype = fields.shape(field, STORED_SIZE_PX, tokens, views_of(config))
        batch[field] = abstract((pairs, *shape), dtype, sharding.BATCH)
    scalar = abstract((), jnp.float32, PartitionSpec())
    key = abstract((), KEY_SHAPE.dtype, PartitionSpec())
    return step.lower(state, batch, scalar, key, scalar)


def lacking_memory(message: str) -> dict[str, int] | None:
    """Bytes a chip that a step needs and may have, as the compiler says of one that is too large.

    They include the arguments. What it may have is less than the chip's own: the compiler keeps
    some. None: the message is about something else.
    """
    found = re.search(
        r"RESOURCE_EXHAUSTED.*?"
        r"(?:required for HLO temporaries \(|Used )([\d.]+)([KMGT]?)"
        r"(?:\) exceeds available HBM \(| of )([\d.]+)([KMGT]?)",
        message,
        re.DOTALL,
    )
    if found is None:
        return None
    needed, needed_unit, available, available_unit = found.groups()
    return {
        "hbm_bytes": round(float(available) * UNITS[available_unit]),
        "needed_bytes": round(float(needed) * UNITS[needed_unit]),
    }


def _of_program(row: dict, compiled, chip: Chip, flops: StepFlops) -> dict:
    """The fields of a row that only a compiled program has."""
    memory = compiled.memory_analysis()
    program = Program(compiled.as_text())
    collectives = program.collectives()
    outputs_bytes = memory.output_size_in_bytes
    # At the least: arguments are read, outputs written, and all other arrays that no chip can hold
    # elsewhere are written and read again.
    written_bytes = program.written_bytes(larger_than_bytes=chip.cache_bytes)
    hbm_bytes = memory.argument_size_in_bytes + max(
        outputs_bytes, 2 * written_bytes - outputs_bytes
    )
    times = roofline(
        chip,
        row["chips"],
        flops.on_the_matrix_unit,
        hbm_bytes,
        sum(collective.sent_bytes for collective in collectives.values()),
    )
    return {
        "memory": {
            **row["memory"],
            "arguments_bytes": memory.argument_size_in_bytes,
            "outputs_bytes": outputs_bytes,
            "aliased_bytes": memory.alias_size_in_bytes,
            "temporaries_bytes": memory.temp_size_in_bytes,
            "code_bytes": memory.generated_code_size_in_bytes,
        },
        "collectives": {kind: dataclasses.asdict(x) for kind, x in collectives.items()},
        "loops_of_unknown_length": program.loops_of_unknown_length,
        "roofline": dataclasses.asdict(times)
        | {
            "step_s": times.step_s,
            "limit": times.limit,
            "hbm_traffic_bytes": hbm_bytes,
            "pairs_per_s": row["global_batch_size"] / times.step_s,
        },
    }
