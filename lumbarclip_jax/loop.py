"""The loop of training: restore, then (step, log, evaluate, save) until the end or a signal."""

import contextlib
import gc
import logging
import operator
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from data_prep.process.signals import Stopped, set_unsaved
from lumbarclip_jax.data.batch_reader import BatchReader
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.process import activity, preemption
from lumbarclip_jax.run_folder import attention_forms
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.choice import Choice
from lumbarclip_jax.run_folder.metric_writer import MetricWriter, read_history
from lumbarclip_jax.training import lora, optim, train_step
from lumbarclip_jax.training.finite import is_finite
from lumbarclip_jax.training.prefetch import DevicePrefetch
from lumbarclip_jax.training.progress import Progress
from lumbarclip_jax.training.skipped_steps import SkippedSteps

log = logging.getLogger(__name__)

# Numbers of the validation split by name, of the state after a step.
Validate = Callable[[int, train_step.TrainState], dict[str, float]]


class Trained(NamedTuple):
    """What training came to: the state of the step that is measured, and how that was chosen."""

    state: train_step.TrainState
    choice: Choice
    last_step: int


def fit(
    workdir: pathlib.Path,
    config: ConfigDict,
    model: Any,
    mesh: Mesh,
    local_batches: BatchReader,
    checkpointer: Checkpointer,
    *,
    objective: Objective,
    start: dict[str, dict],
    validate: Validate,
    weights_change: Callable[[], None] = lambda: None,
) -> Trained | None:
    """Trains to `config.total_steps`, from the newest checkpoint where there is one.

    Args:
      workdir: gets metrics.jsonl and tensorboard/.
      config: of the run: `total_steps`, `seed`, `log_every_steps`, `data`, `optim`, `eval` and
        `checkpoint` are read.
      model: see `encoding.make_encode`.
      mesh: the devices.
      local_batches: of this process; closed at the end.
      checkpointer: of the workdir.
      objective: what is trained.
      start: "params" and "batch_stats" that take the place of new weights, or of a part of them.
      validate: measures the state, every `config.eval.every_steps`.
      weights_change: called before the first step that is taken.

    Returns:
      None when a signal ended it early, with all saved.

    Raises:
      FloatingPointError: loss, gradient or weights are no longer finite.
      OSError: the folder cannot be written, or batches cannot be read.
    """
    attention_forms.adopt(workdir, is_resumed=checkpointer.latest_step is not None)
    batches = DevicePrefetch(local_batches, mesh)
    with contextlib.ExitStack() as stack:
        stack.callback(batches.close)
        chosen = Choice(config.eval.choose_by, config.eval.patience)
        unvalidated = False  # a signal ended the validation after the last step
        abstract, optimizer = train_step.abstract_train_state(model, config, mesh)
        if checkpointer.latest_step is None:
            state, optimizer = train_step.create_train_state(model, config, mesh)
            state = train_step.replace_variables(state, start)
        else:
            state, position = checkpointer.restore(abstract)
            unvalidated = position.pop("unvalidated", False)
            batches.set_state(position)
            log.info("resuming %s at step %d", workdir, checkpointer.latest_step)
        sizes = jax.tree.map(lambda leaf: leaf.size, state.params)
        trained = jax.tree.map(operator.mul, sizes, optim.trainable(config.optim, state.params))
        counts = (sum(jax.tree.leaves(tree)) / 1e6 for tree in (sizes, trained))
        log.info("%s: %.1f M parameters, %.1f M of them trained", config.name, *counts)
        if counted := lora.counted(state.params):
            log.info("adapters on %s", counted)

        step = int(state.step)
        is_writer = jax.process_index() == 0
        if step < config.total_steps and is_writer:
            weights_change()
        key = jax.random.key(config.seed)
        take_step = train_step.make_train_step(model, optimizer, config, mesh, objective)
        # What is there by now stays: to walk it again and again while the step is traced is a fifth
        # of that time.
        gc.collect()  # of a training before this one
        gc.freeze()
        progress = Progress(step, config.total_steps, config.data.global_batch_size)
        skipped = SkippedSteps(config.optim.max_skipped_steps, int(train_step.skipped_steps(state)))

        def save(*, in_between: bool, is_best: bool = False) -> None:
            if step in (0, checkpointer.latest_step):
                return
            skipped.read()
            is_last = step == config.total_steps
            skipped.require_few(step, float(metrics["loss"]), checkpointer.latest_step, is_last)
            # A run that is about to stop keeps the checkpoints from before it went wrong.
            if is_best or not (in_between and skipped.in_a_row):
                require_finite(state, step, checkpointer.latest_step)
                position = batches.get_state() | ({"unvalidated": True} if unvalidated else {})
                attention_forms.keep(workdir)  # of all that this checkpoint came of
                checkpointer.save(step, state, position)

        def see() -> None:
            nonlocal unvalidated
            unvalidated = True
            with contextlib.suppress(Stopped), progress.paused():
                with stop.at_once():
                    found = validate(step, state)
                writer.write(step, found)
                unvalidated = False
                if chosen.see(step, found):
                    checkpointer.chosen = step
                    save(in_between=True, is_best=True)

        writer = stack.enter_context(MetricWriter(workdir, step, is_writer))
        stop = stack.enter_context(preemption.StopRequest())
        local_batches.unless(lambda: stop.alone)
        first_step = step
        history = read_history(workdir) if is_writer else []
        chosen.see_history(history, checkpointer.steps)
        checkpointer.chosen = chosen.step
        if unvalidated:
            see()
        # The first answer is waited for: the step may take long to compile.
        while (
            step < config.total_steps
            and not chosen.is_exhausted
            and not stop.agreed(wait=step == first_step)
        ):
            lr = optim.learning_rate(config.optim, step, config.total_steps)
            part = step / config.total_steps
            try:
                batch = next(batches)
            except Stopped:  # while a disk did not answer
                break
            activity.now("compiling the step" if step == first_step else f"step {step + 1}")
            state, metrics = take_step(state, batch, lr, key, part)
            skipped.add(metrics.pop("skipped_steps"))
            step += 1
            if step == first_step + 1:
                jax.block_until_ready(metrics)
                progress.compiled(step)
            set_unsaved(True)
            # The order below is an invariant: a checkpoint is saved last, so that every row up to
            # its step is written, and only after its weights were seen to be finite.
            if step % config.log_every_steps == 0 or step == config.total_steps:
                # The only wait for the device inside the loop, after the first step.
                values: dict[str, float] = {name: float(value) for name, value in metrics.items()}
                skipped.read()
                if skipped.total:
                    values["skipped_steps"] = float(skipped.total)
                writer.write(step, {**values, "lr": lr, **progress.update(step, values["loss"])})
                skipped.require_few(step, values["loss"], checkpointer.latest_step)
            if config.eval.every_steps and step % config.eval.every_steps == 0:
                see()
            if step % config.checkpoint.every_steps == 0:
                save(in_between=True)
        save(in_between=False)
        checkpointer.wait()
        set_unsaved(False)  # while a signal is still only noted: from here on it ends all at once
        best = step if chosen.step is None else chosen.step
        if best != step and not stop.agreed(wait=True):
            state = checkpointer.restore_step(abstract, best)
            log.info("%s chose step %d: it is measured", chosen.metric, chosen.step)
    if stop.agreed(wait=True):
        saved = " and saved" if step else ""
        log.info("stopped at step %d%s; run the same command to continue", step, saved)
        return None
    return Trained(state, chosen, step)


def require_finite(state: train_step.TrainState, step: int, saved_step: int | None) -> None:
    """Raises FloatingPointError when a number of the state is none any more."""
    if not is_finite(state):
        saved = "nothing is saved" if saved_step is None else f"step {saved_step} is saved"
        raise FloatingPointError(
            f"the weights are not finite at step {step} ({saved}): lower optim.lr or "
            "optim.clip_norm"
        )
