"""The report page: numbers in their place, outside text kept outside, one file and no more."""

import base64
import dataclasses
import html.parser
import io
import pathlib
import re

import numpy as np
import pytest
from PIL import Image

from lumbarclip_jax.evaluators import EVALUATORS
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.report import page, write_report
from tests.fake_embedder import FakeEmbedder, make_split

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'> {{ 7 * 7 }} & </style>"""

METRICS = {
    "test/retrieval/images": 120.0,
    "test/retrieval/image_to_text_recall_at_5": 0.4321,
    "test/retrieval/image_to_text_recall_at_5_ci_low": 0.4,
    "test/retrieval/image_to_text_recall_at_5_ci_high": 0.5,
    "test/retrieval/image_to_text_recall_at_5_chance": 0.1,
}
HISTORY = [
    {"step": 1, "loss": 3.0, "lr": 1e-4, "validation/retrieval/image_to_text_recall_at_5": 0.1},
    {"step": 2, "loss": 2.0, "lr": 2e-4, "validation/retrieval/image_to_text_recall_at_5": 0.3},
]
MANIFEST = {
    "name": "phantom",
    "source": "made up",
    "splits": {"test": {"images": 120, "patients": 40, "report_groups": 39}},
    "dropped_by_reason": {"empty_report": 3},
    "image": {"size_px": 320, "spacing_mm": 0.6875},
    "findings_source": "none",
}
CONFIG = {"name": "tiny", "optim": {"lr": 0.001, "frozen": ()}, "seed": 0}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text between them, and that every tag is closed."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"[\s\u00a0]+", " ", " ".join(self.texts))

    def attributes(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.tags if name == tag]


def write(folder, **changes) -> Page:
    parts = {"metrics": METRICS, "history": HISTORY, "manifest": MANIFEST, "config": CONFIG}
    return Page(write_report(folder, **{**parts, **changes}))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The page of a made-up run whose reports, names and settings are all hostile."""
    split = make_split(20, 2)
    split = dataclasses.replace(
        split,
        report=np.char.add(split.report, HOSTILE),
        sequence=np.full(60, HOSTILE),
    )
    embedder = FakeEmbedder(train=make_split(40, 0), validation=make_split(20, 1), test=split)
    metrics, predictions = {}, {}
    for name, evaluator_class in EVALUATORS.items():
        evaluator = evaluator_class(embedder, split="test", resamples=20)
        metrics |= dict(evaluator.run(None))
        predictions[name] = getattr(evaluator, "predictions", {})
    return write(
        tmp_path_factory.mktemp("run"),
        metrics=metrics,
        gallery=retrieval_gallery(embedder, None, "test", queries=2),
        predictions=predictions,
        config={"name": HOSTILE, HOSTILE: HOSTILE},
        manifest={**MANIFEST, "name": HOSTILE, "dropped_by_reason": {HOSTILE: 1}},
    )


def test_outside_text_stays_text(full):
    template = pathlib.Path(page.__file__).with_name("report.html.j2").read_text(encoding="utf-8")
    assert "<script" not in template
    assert {tag for tag, _ in full.tags} == set(re.findall(r"<([a-z]\w*)", template))
    for _, attributes in full.tags:
        assert not [name for name in attributes if name.startswith("on")]
    assert "alert(1)" in full.text
    assert "{{ 7 * 7 }}" in full.text
    # Seven reports of two queries each way, and the other places that were made hostile.
    assert full.text.count("<script>") >= 14


def test_nothing_is_fetched(full):
    assert full.attributes("img")
    for image in full.attributes("img"):
        assert image["src"].startswith("data:image/png;base64,")
        assert image["alt"]
    assert all(link["href"].startswith("#") for link in full.attributes("a"))
    ids = {attributes.get("id") for _, attributes in full.tags}
    assert {link["href"][1:] for link in full.attributes("a")} <= ids
    style = " ".join(attributes.get("style", "") for _, attributes in full.tags)
    assert "url(" not in full.text + style
    (policy,) = [m for m in full.attributes("meta") if "http-equiv" in m]
    assert policy["content"].startswith("default-src 'none'")


def test_a_number_stands_with_its_interval_and_chance(tmp_path):
    written = write(tmp_path)
    assert "120 images" in written.text
    assert "Recall at 5 43.2 % 40.0 – 50.0 % 10.0 %" in written.text
    assert "better than chance" in written.text
    assert "0.6875" in written.text
    assert "optim.lr 0.001" in written.text
    assert "empty_report 3" in written.text


def test_curves_are_drawn(tmp_path):
    written = write(tmp_path)
    described = [image["alt"] for image in written.attributes("img")]
    assert described == [
        "loss against training step, from 3 to 2",
        "lr against training step, from 0.0001 to 0.0002",
        "Retrieval, validation: Recall at 5, against training step, for Image → report",
    ]


def test_slices_are_shown_as_they_are(full):
    source = next(i["src"] for i in full.attributes("img") if "axial" in i["alt"])
    image = Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))
    pixels = np.asarray(image)
    assert image.mode == "L"
    assert pixels.shape == (4, 4)
    assert (pixels == pixels[0, 0]).all()  # the fake embedder paints a row's number


def test_an_unmeasured_task_and_a_run_without_numbers_say_so(tmp_path):
    metrics = {"test/zero_shot/compression/images": 0.0}
    assert "Not measured" in write(tmp_path, metrics=metrics).text
    assert "Nothing was measured" in write(tmp_path, metrics={}, history=[]).text


def test_the_same_run_gives_the_same_bytes(tmp_path):
    write(tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    write(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first
