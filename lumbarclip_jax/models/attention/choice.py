"""Which form of attention a GPU gets: the fastest, in a trial, of those that give the same numbers.

Users measured cuDNN's at twice the speed of another fused kernel on an H100, and below it on an
A100 (huggingface/transformers#48163), and none takes every shape and type. So nothing is assumed:
the first trace of a kind of attention runs all forms, forwards and backwards. The answer is kept
for the life of the process, and beyond it with a run, see `run_folder.attention_forms`.
"""

import concurrent.futures
import functools
import logging
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

log = logging.getLogger(__name__)

Heads = Float[Array, "*B N T H"]
Bias = Float[Array, "*_B _N _T T"]
Kept = Bool[Array, "*B N T T"]


@runtime_checkable
class Form(Protocol):
    """Attention in one of several forms, see `xla.attend`."""

    def __call__(
        self,
        query: Heads,
        key: Heads,
        value: Heads,
        bias: Bias | None = None,
        kept: Kept | None = None,
        keep_rate: float = 1.0,
    ) -> Heads: ...


TRIAL_BATCH = 64  # at most: the memory is wanted elsewhere
REPEATS = 10
TOLERANCE = 0.02  # of the largest value, twice the rounding of bfloat16 over a softmax


def attend_by_cudnn(
    query: Heads,
    key: Heads,
    value: Heads,
    bias: Bias | None = None,
    kept: Kept | None = None,
    keep_rate: float = 1.0,
) -> Heads:
    """softmax(QKᵀ / √H) V by cuDNN.

    JAX (0.10 and 0.11) takes its own empty bias for a bias, and then refuses the gradients of an
    odd number of tokens: these get one more, which the lengths leave out.

    Raises:
      ValueError: cuDNN's form takes no bias, no dropout and no heads in windows.
      RuntimeError, ValueError: of JAX, not for this device, shape or type.
    """
    if bias is not None or kept is not None or query.ndim != 4:
        raise ValueError("no bias, no dropout, no windows")
    batch, _, tokens, _ = query.shape
    tokens_first = [x.swapaxes(1, 2) for x in (query, key, value)]
    lengths = None
    if tokens % 2:
        tokens_first = [jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in tokens_first]
        lengths = jnp.full(batch, tokens, jnp.int32)
    out = jax.nn.dot_product_attention(
        *tokens_first,
        query_seq_lengths=lengths,
        key_value_seq_lengths=lengths,
        implementation="cudnn",
    )
    return out[:, :tokens].swapaxes(1, 2)


def attend_by_kernel(*arguments, **options) -> Heads:
    """`kernel.attend_by_kernel`, imported when it is wanted.

    JAX 0.11 says that a later version will have no Triton backend: its absence is a lost trial.
    """
    from lumbarclip_jax.models.attention import kernel

    return kernel.attend_by_kernel(*arguments, **options)


CANDIDATES: Mapping[str, Form] = {"cuDNN": attend_by_cudnn, "one kernel": attend_by_kernel}


def fastest(
    query: Heads, bias: Bias | None, kept: Kept | None, keep_rate: float, plain: Form
) -> Form:
    """One of `CANDIDATES` where it wins the trial, else `plain`; the arguments may be traced.

    There is a trial only in a process that is alone: the programs of several must be equal, and
    their trials may not be. Several processes compute by `plain`, or by what all have adopted.
    """
    is_chosen = jax.default_backend() == "gpu" and query.dtype in (jnp.bfloat16, jnp.float16)
    if not is_chosen:
        return plain
    forms = {"XLA": plain, **CANDIDATES}
    bias_shape = None if bias is None else bias.shape
    kind = _kind(query, bias_shape, kept is not None)
    if _winners.get(kind) not in forms:
        is_alone = jax.process_count() == 1
        tried = (forms, query, bias_shape, kept is not None, keep_rate)
        _winners[kind] = _win(*tried) if is_alone else "XLA"
    return forms[_winners[kind]]


_winners: dict[str, str] = {}  # names of forms, by kind of attention


def chosen() -> dict[str, str]:
    """The names of the forms that this process computes with, by kind of attention."""
    return dict(_winners)


def adopt(forms: Mapping[str, str]) -> None:
    """Takes what `chosen` was in another process, in place of trials.

    A kind whose form there is no more is tried when it is met.
    """
    _winners.update(forms)


def _kind(query: Heads, bias_shape, is_dropped: bool) -> str:
    """Neither batch nor number of heads: which form wins is the same, and a trial takes seconds."""
    tokens, width = query.shape[-2:]
    kind = f"{tokens} tokens of {width} in {query.ndim} axes, {jnp.dtype(query.dtype).name}"
    if bias_shape is not None:
        spread = "".join("1" if size == 1 else "n" for size in bias_shape)
        kind += f", bias {spread}"
    return kind + ", dropout" * is_dropped


def _win(forms: Mapping[str, Form], query: Heads, bias_shape, is_dropped: bool, keep_rate) -> str:
    shape = (min(query.shape[0], TRIAL_BATCH), *query.shape[1:])
    named = f"attention of {shape} {jnp.dtype(query.dtype).name}"
    if bias_shape is not None:
        bias_shape = (min(bias_shape[0], TRIAL_BATCH), *bias_shape[1:])
        named += f" with a bias {bias_shape}"
    named += " and dropout" if is_dropped else ""
    rated = {name: functools.partial(form, keep_rate=keep_rate) for name, form in forms.items()}

    def run() -> str:
        return trial(named, rated, made_up_inputs(shape, query.dtype, bias_shape, is_dropped))

    # In a thread of its own: here it would become a part of the program that is being traced.
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(run).result()


def made_up_inputs(shape, dtype, bias_shape, is_dropped) -> tuple:
    """Query, key, value and gradient of the output, as [*B, T, N, H]; bias; what is kept."""
    *batch, heads, tokens, width = shape
    keys = jax.random.split(jax.random.key(0), 3)
    tokens_first = jax.random.normal(keys[0], (4, *batch, tokens, heads, width), dtype)
    bias = None if bias_shape is None else jax.random.normal(keys[1], bias_shape)
    kept = None
    if is_dropped:
        kept = jax.random.bernoulli(keys[2], 0.9, (*batch, heads, tokens, tokens))
    return *tokens_first, bias, kept


def trial(
    named: str,
    forms: Mapping[str, Form],
    inputs: tuple,
    clock: Callable[[], float] = time.perf_counter,
) -> str:
    """The name of the form that takes the least time for output and gradients.

    Only those count that give what the first does; the log has the reasons. A candidate may fail in
    whatever way.
    """
    ready, expected, reasons = {}, None, []
    for name, form in forms.items():
        run = jax.jit(_with_gradients(form))
        try:
            found = jax.block_until_ready(run(*inputs))
        except Exception as error:
            # Libraries of a driver raise what they like; the first form needs none of them.
            if expected is None:
                raise
            reasons.append(f"{name} has none ({str(error).splitlines()[0]})")
            continue
        expected = found if expected is None else expected
        if not jax.tree.all(jax.tree.map(_is_close, found, expected)):
            reasons.append(f"{name} gives other numbers")
            continue
        ready[name] = run
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(REPEATS if len(ready) > 1 else 0):
        for name, run in ready.items():
            begin = clock()
            jax.block_until_ready(run(*inputs))
            seconds[name].append(clock() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items() if times}
    winner = min(medians, key=lambda name: medians[name]) if medians else next(iter(ready))
    reasons = [f"{name} {1e3 * median:.2f} ms" for name, median in medians.items()] + reasons
    log.info("%s: %s; %s", named, winner, ", ".join(reasons))
    return winner


def _with_gradients(form: Form):
    def run(query, key, value, by_out, bias, kept):
        def from_projections(*tokens_first_and_bias):
            *tokens_first, bias = tokens_first_and_bias
            query, key, value = (x.swapaxes(-2, -3) for x in tokens_first)
            return form(query, key, value, bias, kept).swapaxes(-2, -3)

        out, pull_back = jax.vjp(from_projections, query, key, value, bias)
        return out, *pull_back(by_out)

    return run


def _is_close(found: Array, expected: Array) -> bool:
    found, expected = found.astype(jnp.float32), expected.astype(jnp.float32)
    return bool(abs(found - expected).max() <= TOLERANCE * abs(expected).max())
