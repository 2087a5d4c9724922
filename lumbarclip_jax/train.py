"""One run from config to report: build, restore, train, measure."""

import contextlib
import logging
import pathlib

import jax
from ml_collections import ConfigDict

from data_prep.records.manifest import VOCABULARY
from lumbarclip_jax import loop, sharding
from lumbarclip_jax.data import mixture
from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.evaluators import predictions_file
from lumbarclip_jax.evaluators.metrics_file import read_metrics, save_metrics
from lumbarclip_jax.evaluators.suite import evaluate_split, log_validation
from lumbarclip_jax.models import build_model
from lumbarclip_jax.objectives.objective import Objective
from lumbarclip_jax.process import activity
from lumbarclip_jax.report.console import log_summary
from lumbarclip_jax.report.examples import find_examples
from lumbarclip_jax.report.page import write_report
from lumbarclip_jax.run_folder import choice, lock, receipt, run, start
from lumbarclip_jax.run_folder.checkpoints import Checkpointer
from lumbarclip_jax.run_folder.files import METRICS_FILE
from lumbarclip_jax.training import (
    accumulation,
    config_check,
    label_heads,
    train_step,
)
from lumbarclip_jax.training.model_state import measured

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
    activity.now(f"checking {data.dir or ', '.join(folder for folder, _ in data.dirs)}")
    dataset = mixture.opened(data, check_shards=data.check_shards)
    if dataset.cautions:
        log.warning(dataset.manifest["warning"])
    dataset.source(config.eval.final_split)  # a missing split should not be found after training
    if config.eval.choose_by:
        dataset.source("validation")
    config, published = start.adopt(config)
    vocabulary = published.vocabulary or dataset.folder / VOCABULARY
    tokenizer = Tokenizer(vocabulary, config.data.max_tokens, config.data.lowercase)
    config = label_heads.adopt(config, dataset.tasks)
    objective = Objective(config.objective)
    if config.model.heads.tasks:
        counts = label_heads.counts(objective, dataset.columns("train"), dataset.tasks)
        objective = Objective(config.objective, counts)
    local_batches = train_iterator(
        dataset,
        tokenizer,
        fields=objective.fields,
        **pipeline_options(config),
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )

    model = build_model(config.model, tokenizer.vocab_size, train_step.compute_dtype(config))
    is_writer = jax.process_index() == 0
    with contextlib.ExitStack() as stack:
        if is_writer:
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
            return read_metrics(workdir / METRICS_FILE)
        embedder = run.make_embedder(config, mesh, tokenizer, model, dataset)

        def validate(step: int, state: train_step.TrainState) -> dict[str, float]:
            found = validation_metrics(embedder, measured(state, config), config.eval.on_the_way)
            log_validation(step, found)
            return found

        def weights_change() -> None:
            # Measured on the weights that are about to change.
            for file in (receipt.FILE, METRICS_FILE, predictions_file.FILE, choice.FILE):
                (workdir / file).unlink(missing_ok=True)

        trained = loop.fit(
            workdir,
            config,
            model,
            mesh,
            local_batches,
            checkpointer,
            objective=objective,
            start=published.variables(model),
            validate=validate,
            weights_change=weights_change,
        )
    if trained is None:
        return {}

    state, split = measured(trained.state, config), config.eval.final_split
    metrics, kept = {}, predictions_file.Kept()
    for each in (split, *mixture.named_parts(dataset, split)):
        found, said = evaluate_split(
            embedder,
            state,
            each,
            resamples=config.eval.bootstrap_resamples,
            names=config.eval.at_the_end,
        )
        metrics, kept = metrics | found, kept | said
    metrics |= dataset.cautions
    log_summary(metrics)
    finished = run.Run(workdir, config, mesh, tokenizer, model, state)
    examples = find_examples(finished, embedder, split)  # encodes, which takes every process
    if is_writer:
        predictions_file.save_kept(kept, workdir / predictions_file.FILE)
        save_metrics(metrics, workdir / METRICS_FILE)
        results = run.RESULTS
        if trained.choice.step is not None:
            trained.choice.write(workdir, trained.last_step)
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
