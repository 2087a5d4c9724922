"""One run from config to report: build, restore, then (log, save, evaluate, step) until the end."""

import contextlib
import gc
import logging
import pathlib

import jax
from ml_collections import ConfigDict

from data_prep.process.signals import Stopped, set_unsaved
from data_prep.records.manifest import VOCABULARY
from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.metrics_file import read_metrics, save_metrics
from lumbarclip_jax.evaluators.suite import evaluate_split, log_validation
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.process import activity, preemption
from lumbarclip_jax.report.console import log_summary
from lumbarclip_jax.report.examples import find_examples
from lumbarclip_jax.report.page import write_report
from lumbarclip_jax.run_folder import attention_forms, choice, lock, receipt, run
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.metric_writer import MetricWriter, read_history
from lumbarclip_jax.training import accumulation, config_check, optim, train_step, warm_start
from lumbarclip_jax.training.finite import is_finite
from lumbarclip_jax.training.prefetch import DevicePrefetch
from lumbarclip_jax.training.progress import Progress
from lumbarclip_jax.training.skipped_steps import SkippedSteps

log = logging.getLogger(__name__)


def train_and_evaluate(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, float]:
    """Trains `config` in `workdir` and evaluates it; the same call continues a stopped run.

    Args:
      config: a config as in `configs/`, with `config.data.dir` set.
      workdir: gets config.json, vocab.txt, data_manifest.json, trained_patients.txt,
        metrics.jsonl, tensorboard/, checkpoints/, metrics.json, predictions.npz, report.html,
        figures/, results.sha256, with `eval.choose_by` chosen.json, and on a GPU attention.json. A
        finished run is left as it is.

    Returns:
      The final metrics, empty when a signal stopped the run early.

    Raises:
      ValueError: the config or the data cannot be trained, or would make another run of the one
        in `workdir`, or another process trains there; the message says what to change.
      FileNotFoundError: the data set does not exist.
      FloatingPointError: loss, gradient or weights are no longer finite.
      OSError: the folder cannot be written.
    """
    config = config_check.validated(config)
    workdir = pathlib.Path(workdir)
    mesh = sharding.make_mesh(config.mesh.fsdp)
    accumulation.check_batch_size(config, mesh)
    log.info("%d x %s, mesh %s", mesh.size, jax.devices()[0].device_kind, dict(mesh.shape))

    data = config.data
    activity.now(f"checking {data.dir}")
    dataset = Dataset(data.dir, data.resplit, check_shards=data.check_shards)
    if dataset.cautions:
        log.warning(dataset.manifest["warning"])
    dataset.source(config.eval.final_split)  # a missing split should not be found after training
    if config.eval.choose_by:
        dataset.source("validation")
    config, published = warm_start.adopt(config)
    vocabulary = published.vocabulary or dataset.folder / VOCABULARY
    tokenizer = Tokenizer(vocabulary, config.data.max_tokens, config.data.lowercase)
    local_batches = train_iterator(
        dataset,
        tokenizer,
        fields=Objective(config.objective).fields,
        **pipeline_options(config),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    batches = DevicePrefetch(local_batches, mesh)
    unvalidated = False  # a signal ended the validation after the last step

    model = build_model(config.model, tokenizer.vocab_size, train_step.compute_dtype(config))
    with contextlib.ExitStack() as stack:
        stack.callback(batches.close)
        if jax.process_index() == 0:
            stack.enter_context(lock.held(workdir))
        checkpointer = stack.enter_context(Checkpointer(workdir, config.checkpoint.keep))
        latest = checkpointer.latest_step
        run.save_definition(workdir, config, tokenizer, dataset.manifest, latest)
        run.save_trained_patients(workdir, dataset, latest)
        if (
            latest is not None
            and run.is_finished(workdir, config, latest)
            and checkpointer.is_whole(latest)
        ):
            log.info("%s is already complete at step %d: nothing is trained", workdir, latest)
            return read_metrics(workdir / run.METRICS_FILE)
        attention_forms.adopt(workdir, is_resumed=latest is not None)
        chosen = choice.Choice(config.eval.choose_by, config.eval.patience)
        abstract, optimizer = train_step.abstract_train_state(model, config, mesh)
        if checkpointer.latest_step is None:
            state, optimizer = train_step.create_train_state(model, config, mesh)
            state = train_step.replace_variables(state, published.variables(model))
        else:
            state, position = checkpointer.restore(abstract)
            unvalidated = position.pop("unvalidated", False)
            batches.set_state(position)
            log.info("resuming %s at step %d", workdir, checkpointer.latest_step)
        count = sum(leaf.size for leaf in jax.tree.leaves(state.params))
        log.info("%s: %.1f M parameters", config.name, count / 1e6)

        step = int(state.step)
        is_writer = jax.process_index() == 0
        if step < config.total_steps and is_writer:
            # Measured on the weights that are about to change.
            for file in (receipt.FILE, run.METRICS_FILE, predictions_file.FILE, choice.FILE):
                (workdir / file).unlink(missing_ok=True)
        key = jax.random.key(config.seed)
        take_step = train_step.make_train_step(model, optimizer, config, mesh)
        embedder = run.Run(workdir, config, mesh, tokenizer, model, state).embedder(dataset)
        # What is there by now stays: to walk it again and again while the step is traced is a fifth
        # of that time.
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

        def validate() -> None:
            nonlocal unvalidated
            unvalidated = True
            with contextlib.suppress(Stopped), progress.paused():
                with stop.at_once():
                    values = validation_metrics(embedder, state, config.eval.on_the_way)
                writer.write(step, values)
                log_validation(step, values)
                unvalidated = False
                if chosen.see(step, values):
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
            validate()
        # The first answer is waited for: the step may take long to compile.
        while (
            step < config.total_steps
            and not chosen.is_exhausted
            and not stop.agreed(wait=step == first_step)
        ):
            lr = optim.learning_rate(config.optim, step, config.total_steps)
            progress_made = step / config.total_steps
            try:
                batch = next(batches)
            except Stopped:  # while a disk did not answer
                break
            activity.now("compiling the step" if step == first_step else f"step {step + 1}")
            state, metrics = take_step(state, batch, lr, key, progress_made)
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
                validate()
            if step % config.checkpoint.every_steps == 0:
                save(in_between=True)
        save(in_between=False)
        checkpointer.wait()
        set_unsaved(False)  # while a signal is still only noted: from here on it ends all at once
        last_step = step
        best = last_step if chosen.step is None else chosen.step
        if best != last_step and not stop.agreed(wait=True):
            state = checkpointer.restore_step(abstract, best)
            log.info("%s chose step %d: it is measured", chosen.metric, chosen.step)
    if stop.agreed(wait=True):
        saved = " and saved" if step else ""
        log.info("stopped at step %d%s; run the same command to continue", step, saved)
        return {}

    split = config.eval.final_split
    metrics, kept = evaluate_split(
        embedder,
        state,
        split,
        resamples=config.eval.bootstrap_resamples,
        names=config.eval.at_the_end,
    )
    metrics |= dataset.cautions
    log_summary(metrics)
    trained = run.Run(workdir, config, mesh, tokenizer, model, state)
    examples = find_examples(trained, embedder, split)  # encodes, which takes every process
    if is_writer:
        predictions_file.save_kept(kept, workdir / predictions_file.FILE)
        save_metrics(metrics, workdir / run.METRICS_FILE)
        results = run.RESULTS
        if chosen.step is not None:
            chosen.write(workdir, last_step)
            results += (choice.FILE,)
        page = write_report(workdir, examples=examples)
        receipt.write(workdir, results)
        log.info("open %s", page)
    return metrics


def validation_metrics(embedder, state, evaluators: tuple[str, ...]) -> dict[str, float]:
    """What these evaluators find on the validation split, empty for a data set without one."""
    if "validation" not in embedder.splits:
        return {}
    metrics, _ = evaluate_split(embedder, state, "validation", resamples=100, names=evaluators)
    return metrics


def require_finite(state: train_step.TrainState, step: int, saved_step: int | None) -> None:
    """Raises FloatingPointError when a number of the state is none any more."""
    if not is_finite(state):
        saved = "nothing is saved" if saved_step is None else f"step {saved_step} is saved"
        raise FloatingPointError(
            f"the weights are not finite at step {step} ({saved}): lower --config.optim.lr or "
            "--config.optim.clip_norm"
        )
