"""The rungs of the ladder: programs that each do one thing more than the one before."""

import dataclasses
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.bench.products import Product
from lumbarclip_jax.data.tasks import TASKS
from lumbarclip_jax.images import prepare_images
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.training import label_heads, train_step
from lumbarclip_jax.training.encoding import make_encode

LR = 1e-6  # the weights hardly move: every repeat measures the same numbers
PROGRESS = 0.5  # the part of training that is over
Batch = dict[str, np.ndarray]
Task = Callable[[int], None]


@dataclasses.dataclass
class Rungs:
    """What there is to time, and what it cost to make."""

    tasks: dict[str, Task]
    compile_s: dict[str, float]
    peak_bytes: dict[str, int]  # of a device, arguments included; {} where XLA does not say


def build_rungs(
    config: ConfigDict,
    mesh: Mesh,
    vocab_size: int,
    batches: list[Batch],
    shards: Callable[[], Iterator[Batch]] | None,
) -> Rungs:
    """Compiles the programs and returns them under the names of their rungs.

    Args:
      config: of a run.
      mesh: the devices.
      vocab_size: rows of the token table.
      batches: of this process, as `train_iterator` yields them. They come from memory, in turn.
      shards: starts `train_iterator` anew, nothing read ahead; None leaves that rung out.
    """
    config = label_heads.adopt(config, TASKS)
    model = build_model(config.model, vocab_size, train_step.compute_dtype(config))
    state, optimizer = train_step.create_train_state(model, config, mesh)
    key = jax.random.key(config.seed)
    stored = sharding.shard_batch(batches[0], mesh)
    by_rows = NamedSharding(mesh, sharding.BATCH)

    def prepare(images):
        return prepare_images(images[:, 0], config.data)[:, None]

    prepare = jax.jit(prepare, out_shardings=by_rows)
    ready = {**stored, "images": prepare(stored["images"])}
    rungs = Rungs({}, {}, {})

    def compiled(name: str, program, *arguments):
        start = time.perf_counter()
        executable = program.lower(*arguments).compile()
        rungs.compile_s[name] = time.perf_counter() - start
        memory = executable.memory_analysis()
        if memory is not None:
            rungs.peak_bytes[name] = memory.peak_memory_in_bytes
        return executable

    encode = make_encode(model, config, Objective(config.objective))

    def forward(state, batch, key):
        return encode(state.params, state.batch_stats, batch, key)[0]

    def backward(state, batch, key, cotangents):
        _, pull_back = jax.vjp(
            lambda params: encode(params, state.batch_stats, batch, key)[0], state.params
        )
        return pull_back(cotangents)[0]

    outputs = jax.eval_shape(forward, state, ready, key)
    cotangents = jax.tree.map(
        lambda leaf: jax.device_put(jnp.ones(leaf.shape, leaf.dtype), by_rows), outputs
    )

    def update(state, batch, key, cotangents):
        grads = backward(state, batch, key, cotangents)
        params, opt_state = train_step.update_params(optimizer, config, state, grads, LR)
        return dataclasses.replace(state, params=params, opt_state=opt_state)

    state_shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    donated = {"donate_argnums": 0, "out_shardings": state_shardings}
    forward_pass = compiled("forward", jax.jit(forward), state, ready, key)
    backward_pass = compiled("backward", jax.jit(backward), state, ready, key, cotangents)
    update_step = compiled("optimizer", jax.jit(update, **donated), state, ready, key, cotangents)
    loss_step = compiled(
        "loss",
        train_step.make_train_step(model, optimizer, config, mesh, augment=False),
        state,
        ready,
        LR,
        key,
        PROGRESS,
    )
    whole_step = compiled(
        "augmentation",
        train_step.make_train_step(model, optimizer, config, mesh),
        state,
        stored,
        LR,
        key,
        PROGRESS,
    )

    def repeated(call) -> Task:
        def task(calls: int) -> None:
            for _ in range(calls):
                out = call()
            jax.block_until_ready(out)

        return task

    def stepped(advance) -> Task:
        """`advance(state) -> state`; all rungs with an optimizer share one state."""

        def task(calls: int) -> None:
            nonlocal state
            for _ in range(calls):
                state = advance(state)
            jax.block_until_ready(state)

        return task

    def fed(source: Iterator[Batch], calls: int) -> None:
        advance = stepped(
            lambda state: whole_step(
                state, sharding.shard_batch(next(source), mesh), LR, key, PROGRESS
            )[0]
        )
        advance(calls)

    from_memory = itertools.cycle(batches)
    rungs.tasks = {
        "forward": repeated(lambda: forward_pass(state, ready, key)),
        "backward": repeated(lambda: backward_pass(state, ready, key, cotangents)),
        "optimizer": stepped(lambda state: update_step(state, ready, key, cotangents)),
        "loss": stepped(lambda state: loss_step(state, ready, LR, key, PROGRESS)[0]),
        "augmentation": stepped(lambda state: whole_step(state, stored, LR, key, PROGRESS)[0]),
        "memory": lambda calls: fed(from_memory, calls),
    }
    if shards is not None:
        # Started anew for every repeat: an old one has read ahead while other rungs were timed.
        rungs.tasks["shards"] = lambda calls: fed(shards(), calls)
    return rungs


def gemm_tasks(products: Counter[Product], dtype: jnp.dtype) -> dict[Product, Task]:
    """For each shape x·w and its two gradients g·wᵀ and xᵀ·g, on one device.

    Two thirds of what is timed are gradients, as in a training step.
    """

    def three(x, w, g):
        return x @ w, g @ w.T, x.T @ g

    def task_of(product: Product) -> Task:
        keys = jax.random.split(jax.random.key(0), 3)
        rows, inner, columns = dataclasses.astuple(product)
        shapes = ((rows, inner), (inner, columns), (rows, columns))
        arguments = [
            jax.random.normal(key, shape, dtype) for key, shape in zip(keys, shapes, strict=True)
        ]
        program = jax.jit(three).lower(*arguments).compile()

        def task(calls: int) -> None:
            for _ in range(calls):
                out = program(*arguments)
            jax.block_until_ready(out)

        return task

    return {product: task_of(product) for product in products}
