"""Reports padded to one of a few lengths: what a batch holds, loses and costs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Dataset, texts_of, with_level
from lumbarclip_jax.data.perturbations import Perturbation
from lumbarclip_jax.data.pipeline import train_iterator
from lumbarclip_jax.data.sentences import sample_sentences
from lumbarclip_jax.data.synonyms import Synonyms
from lumbarclip_jax.data.text_draws import WHOLE_REPORT, TextDraws
from lumbarclip_jax.data.token_buckets import cut, divide_by_length, token_lengths
from lumbarclip_jax.data.tokenizer import Tokenizer
from lumbarclip_jax.models import build_model
from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.training import config_check, train_step

TOKENS, BATCH = 64, 8


@pytest.fixture(scope="module")
def dataset(tiny_dataset):
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def tokenizer(dataset):
    return Tokenizer(dataset.folder / "vocab.txt", max_tokens=TOKENS)


@pytest.fixture(scope="module")
def lengths(dataset, tokenizer):
    columns = dataset.columns("train")
    rows = zip(columns.report, columns.level, strict=True)
    return token_lengths(tokenizer, [with_level(report, level, True) for report, level in rows])


@pytest.fixture(scope="module")
def buckets(lengths):
    """One that holds about half of the reports."""
    return (int(np.median(lengths)),)


def batches(dataset, tokenizer, **options):
    defaults = {
        "global_batch_size": BATCH,
        "seed": 3,
        "level_prefix": True,
        "one_level_a_batch": False,
        "text_draws": TextDraws(keep_sentence=0.7),
        "read_threads": 0,
        "prefetch_batches": 0,
    }
    return train_iterator(dataset, tokenizer, **(defaults | options))


def take(iterator, count: int) -> list[dict[str, np.ndarray]]:
    return [next(iterator) for _ in range(count)]


def test_lengths_are_counted_in_chunks(tokenizer, monkeypatch):
    texts = ["normal", "normal disc", "", "normal " * 100, "disc"]
    whole = token_lengths(tokenizer, texts)
    assert whole.tolist() == [3, 4, 2, TOKENS, 3]
    monkeypatch.setattr("lumbarclip_jax.data.token_buckets.CHUNK", 2)
    np.testing.assert_array_equal(token_lengths(tokenizer, texts), whole)


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        (1, [([0, 1], 4), ([2, 3, 4], 8), ([5], 16)]),
        (2, [([0, 1], 4), ([2, 3, 4, 5], 16)]),  # the largest joins the one before
        (3, [([0, 1, 2, 3, 4, 5], 16)]),
        (4, [([0, 1, 2, 3, 4, 5], 16)]),  # small ones join the next larger
        (9, [([0, 1, 2, 3, 4, 5], 16)]),
    ],
)
def test_small_buckets_are_joined_and_no_row_is_left_out(least, expected):
    lengths = np.array([3, 4, 5, 6, 8, 16, 2])
    parts, widths = divide_by_length([np.arange(6)], lengths, (4, 8, 16), least)
    assert [rows.tolist() for rows in parts] == [rows for rows, _ in expected]
    for rows, bucket in expected:
        assert (widths[rows] == bucket).all()
    assert widths[6] == 16  # in no part


def test_a_batch_has_the_width_of_its_bucket_and_every_token(dataset, tokenizer, buckets):
    columns = dataset.columns("train")
    pixels = dataset.images("train", range(len(columns.level)))
    row_of = {image.tobytes(): row for row, image in enumerate(pixels)}
    options = {"global_batch_size": 4, "one_level_a_batch": True, "text_draws": WHOLE_REPORT}
    iterator = batches(dataset, tokenizer, token_buckets=buckets, **options)
    widths = set()
    for batch in take(iterator, 12):
        rows = [row_of[image.tobytes()] for image in batch["images"]]
        assert len(set(columns.level[rows])) == 1
        whole = tokenizer([with_level(columns.report[r], columns.level[r], True) for r in rows])
        width = batch["input_ids"].shape[-1]
        for name in ("input_ids", "attention_mask"):
            np.testing.assert_array_equal(batch[name][:, 0], whole[name][:, :width])
        assert not whole["attention_mask"][:, width:].any()
        widths.add(width)
    assert widths == {*buckets, TOKENS}


def test_an_excerpt_is_never_longer_than_its_report(dataset, tokenizer, lengths):
    columns = dataset.columns("train")
    for seed in range(5):
        excerpts = [
            with_level(sample_sentences(report, 0.7, seed), level, True)
            for report, level in zip(columns.report, columns.level, strict=True)
        ]
        assert (token_lengths(tokenizer, excerpts) <= lengths).all()


def test_the_longest_text_of_a_record_tells_its_bucket(labelled_dataset):
    """Every text is cut to the width: none may be longer, whichever was drawn."""
    dataset = Dataset(labelled_dataset)
    tokenizer = Tokenizer(dataset.folder / "vocab.txt", max_tokens=TOKENS)
    records = [dataset.source("train")[row] for row in range(len(dataset.source("train")))]
    of_record = [
        token_lengths(tokenizer, [with_level(text, "L4-L5", True) for text in texts_of(record)])
        for record in records
    ]
    longest = np.array([lengths.max() for lengths in of_record])
    width = int(np.median(longest))
    # In some records another text than the report is the longest: told by it, a bucket is short.
    assert any(lengths[0] <= width < lengths.max() for lengths in of_record)
    options = {"fields": ("images", "input_ids", "attention_mask"), "token_buckets": (width,)}
    row_of = {record["image"].tobytes(): row for row, record in enumerate(records)}
    draws = TextDraws(views=2)
    widths = set()
    for batch in take(batches(dataset, tokenizer, text_draws=draws, **options), 12):
        rows = [row_of[image.tobytes()] for image in batch["images"]]
        fits = longest[rows] <= width
        assert fits.all() or not fits.any()
        widths.add(batch["input_ids"].shape[-1])
        assert batch["input_ids"].shape == (BATCH, 2, width if fits.all() else TOKENS)
    assert widths == {width, TOKENS}


def test_a_cut_text_is_that_of_a_tokenizer_of_this_length(dataset, tokenizer):
    texts = ["normal disc", "", "normal disc " * 7, "disc " * 100, "normal"]
    for width in (3, 4, 16, TOKENS):
        expected = Tokenizer(dataset.folder / "vocab.txt", max_tokens=width)(texts)
        jax.tree.map(np.testing.assert_array_equal, cut(tokenizer(texts), width), expected)


def test_a_text_that_synonyms_made_longer_than_its_bucket_still_ends(dataset, tokenizer, tmp_path):
    table = tmp_path / "long.toml"
    phrase = " ".join(["disc"] * 20)
    table.write_text(f'groups = [["number", "{phrase}"]]\n[protected]\nnegation = "no"\n')
    draws = TextDraws(perturbation=Perturbation(synonyms=1.0), synonyms=Synonyms(table))
    width, ends = 40, tokenizer.tokens.index("[SEP]")
    cut_short = 0
    for batch in take(batches(dataset, tokenizer, text_draws=draws, token_buckets=(width,)), 8):
        lengths = batch["attention_mask"].sum(axis=-1)
        last = np.take_along_axis(batch["input_ids"], lengths[..., None] - 1, axis=-1)
        assert (last == ends).all()
        cut_short += (lengths == width).sum() if batch["input_ids"].shape[-1] == width else 0
    assert cut_short > 5


def test_processes_share_the_batch_and_its_width(dataset, tokenizer, buckets):
    options = {"token_buckets": buckets, "process_count": 2}
    whole = take(batches(dataset, tokenizer, token_buckets=buckets), 6)
    shares = [take(batches(dataset, tokenizer, process_index=i, **options), 6) for i in (0, 1)]
    for batch, *parts in zip(whole, *shares, strict=True):
        for name, values in batch.items():
            np.testing.assert_array_equal(np.concatenate([p[name] for p in parts]), values)


def test_a_stopped_iterator_goes_on_with_the_same_batch(dataset, tokenizer, buckets):
    iterator = batches(dataset, tokenizer, token_buckets=buckets)
    take(iterator, 3)
    state = iterator.get_state()
    expected = take(iterator, 4)
    again = batches(dataset, tokenizer, token_buckets=buckets)
    again.set_state(state)
    for found, batch in zip(take(again, 4), expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, found, batch)


def test_cut_padding_changes_no_embedding():
    bert = Bert(50, width=16, depth=2, heads=2, mlp_width=24, pooling="mean")
    ids = jax.random.randint(jax.random.key(0), (3, 12), 5, 50)
    mask = (jnp.arange(12)[None] < jnp.array([[8], [5], [2]])).astype(jnp.int32)
    variables = bert.init(jax.random.key(1), ids, mask)
    padded = bert.apply(variables, ids, mask)["pooled"]
    cut = bert.apply(variables, ids[:, :8], mask[:, :8])["pooled"]
    np.testing.assert_allclose(cut, padded, atol=1e-6)


@pytest.mark.slow
def test_a_step_is_compiled_once_for_each_bucket(dataset, tokenizer, buckets):
    config = vit_linear.get_config("quick")
    config.data.update(image_size_px=16, crop_px=16, max_tokens=TOKENS, global_batch_size=BATCH)
    config.model.embed_dim = 8
    config.objective.group_reports = False
    sizes = {"width": 16, "depth": 1, "heads": 2, "mlp_width": 16}
    config.model.image_encoder.sizes = sizes | {"patch_size": 8}
    config.model.text_encoder.sizes = sizes
    mesh = sharding.make_mesh()
    model = build_model(config.model, tokenizer.vocab_size, jnp.float32)
    state, optimizer = train_step.create_train_state(model, config, mesh)
    step = train_step.make_train_step(model, optimizer, config, mesh)
    widths = set()
    for batch in take(batches(dataset, tokenizer, token_buckets=buckets), 8):
        widths.add(batch["input_ids"].shape[-1])
        placed = sharding.shard_batch(batch, mesh)
        state, metrics = step(state, placed, np.float32(1e-4), jax.random.key(0), 0.0)
        assert np.isfinite(metrics["loss"])
    assert len(widths) == 2
    assert step._cache_size() == 2


@pytest.mark.parametrize("value", [(64, 32), (32, 32), (3,), (32, 128)])
def test_buckets_that_make_no_sense_are_named(value):
    config = vit_linear.get_config()
    config.data.token_buckets = value
    with pytest.raises(ValueError, match=r"data\.token_buckets=.*below data\.max_tokens=128"):
        config_check.validated(config)
    config.data.token_buckets = (32, 64)
    config_check.validated(config)
