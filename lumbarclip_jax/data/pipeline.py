"""Training batches: shuffled, endless, the same for any number of processes, resumable."""

import dataclasses
import functools
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from data_prep.records.schema import WRITTEN
from lumbarclip_jax.data import batch_order
from lumbarclip_jax.data import fields as batch_fields
from lumbarclip_jax.data.batch_reader import BatchReader
from lumbarclip_jax.data.dataset import Dataset, read_text, texts_of, with_level
from lumbarclip_jax.data.image_draws import OF_ANOTHER_LEVEL, ONE_IMAGE, SAME, ImageDraws, Studies
from lumbarclip_jax.data.label_prompts import LabelPrompts
from lumbarclip_jax.data.sources import PartialSource, Rows
from lumbarclip_jax.data.tasks import named
from lumbarclip_jax.data.text_draws import WHOLE_REPORT, Drawn, TextDraws
from lumbarclip_jax.data.token_buckets import CHUNK, cut, divide_by_length, token_lengths
from lumbarclip_jax.data.tokenizer import Tokenizer

log = logging.getLogger(__name__)

PAIR = (batch_fields.IMAGES, *batch_fields.TOKENS)


def pipeline_options(config: ConfigDict) -> dict[str, Any]:
    """The options of `train_iterator` that a config sets, but for the fields of its objective."""
    names = (
        "global_batch_size",
        "level_prefix",
        "one_level_a_batch",
        "one_data_set_a_batch",
        "token_buckets",
        "read_threads",
        "read_processes",
        "prefetch_batches",
    )
    options = {name: config.data[name] for name in names}
    draws = {"image_draws": ImageDraws.of(config.data), "text_draws": TextDraws.of(config.data)}
    return {"seed": config.seed, **draws, **options}


def train_iterator(
    dataset: Dataset,
    tokenizer: Tokenizer | None,
    *,
    fields: Sequence[str] = PAIR,
    global_batch_size: int,
    seed: int,
    level_prefix: bool = True,
    one_level_a_batch: bool = False,
    one_data_set_a_batch: bool = True,
    token_buckets: Sequence[int] = (),
    image_draws: ImageDraws = ONE_IMAGE,
    text_draws: TextDraws = WHOLE_REPORT,
    read_threads: int,
    prefetch_batches: int,
    read_processes: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    split: str = "train",
    rows: np.ndarray | None = None,
) -> BatchReader:
    """Endless batches of this process's rows; `get_state`/`set_state` hold the position.

    The order is drawn over indices, see `batch_order.endless`, then each process takes its
    contiguous share of every global batch: the global batch of a step is the same whatever the
    number of processes.

    With `one_level_a_batch`, pairs are told apart by what they show and not by their disc level,
    which is written in the text and easily seen in the image; with `one_data_set_a_batch` not by
    where they come from, which scanner, plane and style of a report give away. `image_draws` says
    which V images of a study are those of a pair, `text_draws` what of the texts of a record makes
    its W. What is known of an image, such as its level and its labels, is known of the first.

    With `token_buckets`, lengths below the tokenizer's, the texts of a batch are those of records
    whose longest text falls into one bucket, and are padded to it: T is then one of a few lengths.
    Neither does length then tell pairs apart. Which bucket, every process knows from the order
    alone.

    `rows` are those of the split that are used, all where it is None. Without texts among the
    fields there needs to be no tokenizer.

    Yields dicts of the `fields`, and reads nothing of a record that none of them is made of:
    `images` uint8 [b, V, S, S, 1], `input_ids` and `attention_mask` int32 [b, W, T], and those of
    `data.fields` [b, ...]; b = global_batch_size / process_count.

    Raises:
      ValueError: the batch is larger than the split, or than each of its levels, or does not divide
        over the processes; the data set cannot give a field, or no second text of a pair; the
        images of a pair show several levels, and a field, or a label in words, is of one.
    """
    columns = dataset.columns(split)
    has_texts = bool(set(fields) & set(batch_fields.TOKENS))
    prompts, is_written = None, np.ones(len(columns.level), bool)
    if has_texts and text_draws.wordings:
        prompts, is_written = _prompts(dataset, split, text_draws)
        # Texts of equal labels are each other's positives, as equal reports are.
        said = np.where(is_written | ~prompts.has_some, columns.report_group, prompts.groups())
        columns = dataclasses.replace(columns, report_group=said)
    constants = batch_fields.constants(columns, fields)
    further = dataset.further_texts if has_texts and text_draws.further_texts else ()
    if has_texts and (fault := text_draws.fault(bool(further))):
        raise ValueError(fault)
    source = dataset.partial_source(split, (*batch_fields.features(fields), *further))
    used = np.arange(len(source)) if rows is None else rows
    studies = None
    if batch_fields.IMAGES in fields and image_draws.views > 1:
        studies = _studies(dataset, split, used, image_draws, fields, prompts)
        others = dataset.partial_source(split, ("image",))
    if global_batch_size > len(used):
        raise ValueError(
            f"a batch of {global_batch_size} is larger than the {len(used)} images of the "
            f"{split} split in {dataset.folder}: lower --config.data.global_batch_size"
        )
    if global_batch_size % process_count:
        raise ValueError(
            f"data.global_batch_size={global_batch_size} does not divide over {process_count} "
            "processes: choose a multiple"
        )
    share = global_batch_size // process_count
    own = slice(process_index * share, (process_index + 1) * share)

    def load(indices: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        records = source.__getitems__(indices[own].tolist())
        # Drawn for the whole batch, so that every process sees its share of the same draws.
        seeds = rng.integers(2**63, size=global_batch_size)[own].tolist()
        constant = {name: values[indices[own]] for name, values in constants.items()}
        batch = {name: values for name, values in constant.items() if name in fields}
        if batch_fields.IMAGES in fields:
            images = [[record["image"]] for record in records]
            if studies:
                for row, seed, views in zip(indices[own].tolist(), seeds, images, strict=True):
                    further = image_draws(studies(row), seed)
                    views += [record["image"] for record in others.__getitems__(further)]
            batch[batch_fields.IMAGES] = np.array(images)
        if has_texts:
            drawn = [
                text_draws(
                    texts_of(record),
                    seed,
                    functools.partial(prompts, row) if prompts else None,
                    is_written=is_written[row],
                )
                for row, record, seed in zip(indices[own].tolist(), records, seeds, strict=True)
            ]
            batch |= tokens(records, drawn, widths[indices].max())
            for name in fields:
                if name.startswith(batch_fields.OF_TEXT):
                    of_images = constant[name.removeprefix(batch_fields.OF_TEXT)]
                    batch[name] = batch_fields.of_drawn(
                        name, of_images, records, drawn, dataset.tasks
                    )
        return batch

    def tokens(records: list[dict], drawn: list[list[Drawn]], width: int) -> dict[str, np.ndarray]:
        texts = [
            with_level(text, read_text(record, "level"), level_prefix)
            for record, views in zip(records, drawn, strict=True)
            for text, _ in views
        ]
        assert tokenizer, "texts are asked for"
        shape = (len(records), text_draws.views, -1)
        return {name: ids.reshape(shape) for name, ids in cut(tokenizer(texts), width).items()}

    data_sets = dataset.parts(split)
    kinds = {"one_level_a_batch": columns.level} if one_level_a_batch else {}
    if one_data_set_a_batch and len(data_sets) > 1:
        names = [np.full(len(of), name) for name, (of, _) in enumerate(data_sets, start=1)]
        kinds["one_data_set_a_batch"] = np.char.add("data set ", np.concatenate(names).astype(str))
    parts = batch_order.alike([*kinds.values()], used, global_batch_size, split, [*kinds])
    widths = np.full(len(source), tokenizer.max_tokens if tokenizer else 0)
    if token_buckets and tokenizer:
        names = batch_fields.features(batch_fields.TOKENS) + tuple(further)
        lengths = _longest(dataset.partial_source(split, names), tokenizer, level_prefix)
        buckets = (*token_buckets, tokenizer.max_tokens)
        parts, widths = divide_by_length(parts, lengths, buckets, least=global_batch_size)
    batches = batch_order.endless(parts, data_sets, global_batch_size, seed)
    loaded = batches.random_map(load, seed=seed)
    return BatchReader(loaded, read_threads, read_processes, prefetch_batches)


def _prompts(
    dataset: Dataset, split: str, text_draws: TextDraws
) -> tuple[LabelPrompts, np.ndarray]:
    """The labels in words, and which rows [M] have a report that a doctor wrote."""
    source = dataset.partial_source(split, ("report_source",))
    sources = [
        read_text(record, "report_source") for record in source.__getitems__(range(len(source)))
    ]
    is_written = np.array(sources) == WRITTEN
    assert text_draws.wordings, "labels are put into words"
    asked = named(text_draws.prompt_tasks, dataset.tasks, str(dataset.folder))
    prompts = LabelPrompts(dataset.columns(split), asked, text_draws.wordings)
    where = np.ones(len(is_written), bool) if text_draws.prompt_share else ~is_written
    if not (prompts.has_some & where).any():
        raise ValueError(
            f"data.prompts.tasks={text_draws.prompt_tasks} put no image of {split} in "
            f"{dataset.folder} into words: where all reports are written set data.prompts.share, "
            "and name tasks with labels"
        )
    log.info(
        "%d of %d texts are put into words from labels, and of the written ones a share of %g",
        (prompts.has_some & ~is_written).sum(),
        len(is_written),
        text_draws.prompt_share,
    )
    return prompts, is_written


def _studies(
    dataset: Dataset,
    split: str,
    used: np.ndarray,
    image_draws: ImageDraws,
    fields: Sequence[str],
    prompts: LabelPrompts | None,
) -> Studies:
    """Where the further images of a pair are found; how many there are none of is in the log."""
    if fault := image_draws.fault_of_fields(fields, dataset.tasks):
        raise ValueError(fault)
    if prompts and image_draws.shows_other_levels and prompts.of_level[used].any():
        raise ValueError(
            "data.prompts.tasks says what the disc of the first image shows, and data.other_images="
            f"{image_draws.others} shows other levels beside it: name tasks of the patient there, "
            f"or leave out {' and '.join(OF_ANOTHER_LEVEL)}"
        )
    studies = Studies(dataset.columns(split), used)
    if (alone := studies.alone(image_draws.others)) and image_draws.others != (SAME,):
        log.info(
            "%d of %d images have no other of data.other_images=%s in their study, and are their "
            "own second view",
            alone,
            len(used),
            image_draws.others,
        )
    return studies


def _longest(source: PartialSource | Rows, tokenizer: Tokenizer, level_prefix: bool) -> np.ndarray:
    """Tokens of the longest text of every record, int64 [len(source)]."""
    longest = np.zeros(len(source), int)
    for start in range(0, len(source), CHUNK):
        records = source.__getitems__(range(start, min(start + CHUNK, len(source))))
        texts, row_of = [], []
        for row, record in enumerate(records, start=start):
            level = read_text(record, "level")
            of = [with_level(text, level, level_prefix) for text in texts_of(record)]
            texts += of
            row_of += [row] * len(of)
        np.maximum.at(longest, row_of, token_lengths(tokenizer, texts))
    return longest
