"""A run's folder made by hand, evaluated on made-up data, and the page read as a browser would."""

import base64
import dataclasses
import html.parser
import io
import json
import re

import numpy as np
from PIL import Image

from lumbarclip_jax.evaluators import evaluator_class, predictions_file
from lumbarclip_jax.report.page import write_report
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
CONFIG = {"name": "tiny", "optim": {"lr": 0.001, "frozen": ()}, "seed": 0, "data": {}}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text between them, and that every tag is closed."""

    VOID = frozenset({"meta", "img", "br", "wbr"})

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


def picture(attributes: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(attributes["src"].partition(",")[2])))


def write(
    folder,
    metrics=METRICS,
    history=HISTORY,
    manifest=MANIFEST,
    config=CONFIG,
    kept=None,
    examples=None,
) -> Page:
    """The page of a run's folder with these files in it."""
    for name, content in (
        ("metrics.json", metrics),
        ("data_manifest.json", manifest),
        ("config.json", config),
    ):
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in history))
    if kept is not None:
        predictions_file.save_kept(kept, folder / predictions_file.FILE)
    return Page(write_report(folder, examples=examples))


def evaluate():
    """(metrics, what was kept, embedder) of made-up data whose reports are all hostile."""
    split = make_split(20, 2)
    split = dataclasses.replace(
        split,
        report=np.char.add(split.report, HOSTILE),
        sequence=np.full(60, HOSTILE),
    )
    embedder = FakeEmbedder(train=make_split(40, 0), validation=make_split(20, 1), test=split)
    tasks = {"tasks": ("disc_displacement",)}
    metrics, kept = {}, predictions_file.Kept()
    for name, options in (("zero_shot", tasks), ("linear_probe", tasks), ("retrieval", {})):
        evaluator = evaluator_class(name)(embedder, split="test", resamples=20, **options)
        found, answered = evaluator.run(None)
        metrics, kept = metrics | found, kept | answered
    return metrics, kept, embedder
