"""python -m lumbarclip_jax.bench.input --config=configs/vit_linear.py --config.data.dir=DIR \\
    --out=input

Pairs a second that this machine can feed to a training step, and what each part of it could do
alone: reading records, drawing sentences, tokenizing, batching, and the whole iterator by number of
reader threads or processes. A pair a CPU second is what one core does, whatever else the machine is
busy with; of reader processes it counts what is left to the run itself.
Writes input.json and input.md.
"""

import logging
import pathlib
import statistics
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np
from absl import flags
from ml_collections import ConfigDict, config_flags

from data_prep.records.manifest import VOCABULARY
from lumbarclip_jax.bench import machine
from lumbarclip_jax.process import cli

# Run with -m, this module is called __main__.
log = logging.getLogger("lumbarclip_jax.bench.input")

PACKAGES = ("lumbarclip_jax", "grain", "array_record", "tokenizers")
BATCHES = 10  # an iterator hands out in a repeat


def _define_flags() -> None:
    config_flags.DEFINE_config_file("config", None, "run file, e.g. configs/vit_linear.py")
    flags.DEFINE_list("threads", ["1", "2", "4"], "reader threads to try, with commas")
    flags.DEFINE_list("processes", [], "reader processes to try, of one thread each")
    flags.DEFINE_integer("repeats", 5, "of each part; the median is quoted", 1)
    flags.DEFINE_string("out", "input", "path of the two files, without .json and .md")
    flags.mark_flag_as_required("config")


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS
    if not options.config.data.dir:
        raise ValueError("nothing to read: pass --config.data.dir=DIR, a folder of data_prep.build")
    row = {
        "command": machine.command(log.name),
        "config": options.config.name,
        "batch_size": options.config.data.global_batch_size,
        "repeats": options.repeats,
        "machine": machine.describe(),
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "rates": measure(
            options.config,
            _counts("threads", options.threads),
            _counts("processes", options.processes),
            options.repeats,
        ),
    }
    machine.write(pathlib.Path(options.out), row, render(row), log)


def _counts(flag: str, words: list[str]) -> list[int]:
    for word in words:
        if not word.isdecimal() or not int(word):
            raise ValueError(f"--{flag}: {word!r} is no number of {flag}, write --{flag}=1,2,4")
    return [int(word) for word in words]


def measure(
    config: ConfigDict, threads: list[int], processes: list[int], repeats: int
) -> dict[str, dict[str, float]]:
    """Rates of the parts of the input pipeline on `config.data`, by name."""
    # Imported here, after the flags are read: neither --help nor a typo should wait for JAX.
    from lumbarclip_jax.data.dataset import Dataset, read_text
    from lumbarclip_jax.data.pipeline import pipeline_options, train_iterator
    from lumbarclip_jax.data.sentences import sample_sentences
    from lumbarclip_jax.data.tokenizer import Tokenizer
    from lumbarclip_jax.objectives.objective import Objective

    data = config.data
    dataset, size = Dataset(data.dir, data.resplit), data.global_batch_size
    tokenizer = Tokenizer(dataset.folder / VOCABULARY, data.max_tokens, data.lowercase)
    source = dataset.partial_source("train", ("image", "report", "level"))
    fields = Objective(config.objective).fields
    rows = np.random.default_rng(config.seed).integers(len(source), size=size).tolist()
    records = source.__getitems__(rows)
    texts = [read_text(record, "report") for record in records]

    def sentences() -> None:
        for seed, text in enumerate(texts):
            sample_sentences(text, data.keep_sentence, seed)

    def rate(task: Callable[[], object], pairs: int) -> dict[str, float]:
        return _rate(task, pairs, repeats)

    rates = {
        "read": rate(lambda: source.__getitems__(rows), size),
        "sentences": rate(sentences, size),
        "tokenize": rate(lambda: tokenizer(texts), size),
        "batch": rate(lambda: np.stack([record["image"] for record in records]), size),
    }
    forms: dict[str, dict[str, Any]] = {
        f"iterator, {n} threads": {"read_threads": n, "read_processes": 0} for n in threads
    }
    for n in processes:
        forms[f"iterator, {n} processes"] = {"read_threads": 1, "read_processes": n}
    for name, form in forms.items():
        batches = train_iterator(
            dataset, tokenizer, fields=fields, **(pipeline_options(config) | form)
        )
        # What was read ahead is used up first: only then is the rate that of reading.
        _take(batches, max(1, form["read_processes"]) * (data.prefetch_batches + 1))
        rates[name] = rate(lambda batches=batches: _take(batches, BATCHES), BATCHES * size)
        batches.close()
    return rates


def render(row: dict) -> str:
    """The page as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in row["versions"].items())
    lines = [
        f"# Input of {row['config']}",
        "",
        f"    {row['command']}",
        "",
        f"Batches of {row['batch_size']} pairs; the parts, one after the other, by one thread. "
        f"{versions}. {machine.sentence(row['machine'])}. Medians of {row['repeats']} repeats.",
        "",
        "| part | pairs/s | pairs a CPU second |",
        "|---|---|---|",
    ]
    for name, rate in row["rates"].items():
        lines.append(f"| {name} | {rate['pairs_per_s']:,.0f} | {rate['per_cpu_s']:,.0f} |")
    return "\n".join(lines) + "\n"


def _take(batches, count: int) -> None:
    for _ in range(count):
        next(batches)


def _rate(task: Callable[[], object], pairs: int, repeats: int) -> dict[str, float]:
    task()
    wall, cpu = [], []
    for _ in range(repeats):
        wall_start, cpu_start = time.perf_counter(), time.process_time()
        task()
        wall.append(time.perf_counter() - wall_start)
        cpu.append(time.process_time() - cpu_start)
    # The clock of the process is too coarse for a task of microseconds.
    per_cpu = pairs / max(statistics.median(cpu), 1e-6)
    return {"pairs_per_s": pairs / statistics.median(wall), "per_cpu_s": per_cpu}


if __name__ == "__main__":
    _define_flags()
    cli.run(main)
