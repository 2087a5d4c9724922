"""Whether a GPU gets cuDNN's fused attention: where a trial finds it equal and faster.

Users measured it at twice the speed of another fused kernel on an H100, and below it on an A100
(huggingface/transformers#48163), and it takes neither every shape nor every type. So nothing is
assumed: the first trace of a shape runs both forms, forwards and backwards. The answer is kept for
the life of the process, in which a shape is seldom traced twice.
"""

import functools
import logging
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

log = logging.getLogger(__name__)

Heads = Float[Array, "B N T H"]
Form = Callable[[Heads, Heads, Heads], Heads]

TRIAL_BATCH = 64  # at most: which form wins depends on T and H, and the memory is wanted elsewhere
REPEATS = 10
TOLERANCE = 0.02  # of the largest value, twice the rounding of bfloat16 over a softmax


def attend_by_cudnn(query: Heads, key: Heads, value: Heads) -> Heads:
    """softmax(QKᵀ / √H) V by cuDNN.

    JAX (0.10 and 0.11) takes its own empty bias for a bias, and then refuses the gradients of an
    odd number of tokens: these get one more, which the lengths leave out.

    Raises:
      RuntimeError, ValueError, NotImplementedError: not for this device, shape or type.
    """
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


def takes_cudnn(shape: tuple[int, ...], dtype: jnp.dtype, plain: Form) -> bool:
    """Whether attention over heads of `shape` [B, N, T, H] is `attend_by_cudnn`, not `plain`.

    Only in a process that is alone: the programs of several must be equal, and their trials may
    not be.
    """
    is_candidate = (
        jax.default_backend() == "gpu"
        and jax.process_count() == 1
        and len(shape) == 4
        and dtype in (jnp.bfloat16, jnp.float16)
    )
    if not is_candidate:
        return False
    bounded = (min(shape[0], TRIAL_BATCH), *shape[1:])
    return _cudnn_wins(plain, bounded, dtype)


@functools.cache
def _cudnn_wins(plain: Form, shape: tuple[int, ...], dtype: jnp.dtype) -> bool:
    return wins_trial(attend_by_cudnn, plain, shape, dtype)


def wins_trial(
    candidate: Form,
    plain: Form,
    shape: tuple[int, ...],
    dtype: jnp.dtype,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Whether `candidate` gives what `plain` does, and its gradients, in less time.

    A candidate that fails, in whatever way, does not win; the log has the reason. May be called
    while a program that will hold the winner is traced.
    """
    named = f"attention of {shape} {jnp.dtype(dtype).name}"
    # Else the trial would become a part of the program that is being traced.
    with jax.ensure_compile_time_eval():
        inputs = list(jax.random.normal(jax.random.key(0), (4, *shape), dtype))
        both = {"cuDNN": candidate, "XLA": plain}
        forms = {name: jax.jit(_with_gradients(form)) for name, form in both.items()}
        try:
            found, expected = (jax.block_until_ready(form(*inputs)) for form in forms.values())
        except Exception as error:
            # Libraries of a driver raise what they like, and plain attention needs none of them.
            log.info("%s: XLA, since cuDNN has none (%s)", named, str(error).splitlines()[0])
            return False
        if not all(_is_close(f, e) for f, e in zip(found, expected, strict=True)):
            log.info("%s: XLA, since cuDNN gives other numbers", named)
            return False
        seconds = {name: [] for name in forms}
        for _ in range(REPEATS):
            for name, form in forms.items():
                begin = clock()
                jax.block_until_ready(form(*inputs))
                seconds[name].append(clock() - begin)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    winner = min(medians, key=medians.get)
    log.info(
        "%s: %s; %s",
        named,
        winner,
        ", ".join(f"{name} {1e3 * median:.2f} ms" for name, median in medians.items()),
    )
    return winner == "cuDNN"


def _with_gradients(form: Form):
    def run(query, key, value, by_out):
        out, pull_back = jax.vjp(form, query, key, value)
        return out, *pull_back(by_out)

    return run


def _is_close(found: Array, expected: Array) -> bool:
    found, expected = found.astype(jnp.float32), expected.astype(jnp.float32)
    return bool(abs(found - expected).max() <= TOLERANCE * abs(expected).max())
