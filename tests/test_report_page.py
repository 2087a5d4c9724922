"""The report page: numbers in their place, outside text kept outside, one file and no more."""

import os
import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

from lumbarclip_jax.data import resplit
from lumbarclip_jax.evaluators.gallery import retrieval_gallery
from lumbarclip_jax.report import page
from lumbarclip_jax.report.embedding_map import embedding_map
from lumbarclip_jax.report.examples import Examples
from lumbarclip_jax.report.maps import ImageMaps, Maps
from tests.report_pages import HOSTILE, MANIFEST, Page, evaluate, picture, write


def made_up_maps() -> Maps:
    rng = np.random.default_rng(0)
    one = ImageMaps(
        image=rng.integers(0, 255, (8, 8), np.uint8),
        level=HOSTILE,
        label=HOSTILE,
        report=HOSTILE,
        cosine=0.25,
        similarity=rng.uniform(-1, 1, (2, 2)),
        contrast=rng.uniform(-1, 1, (2, 2)),
        saliency=rng.uniform(0, 1, (4, 4)),
    )
    return Maps("test", "disc_displacement", ("no", HOSTILE), True, True, 4, 0.5, (one, one))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """The page of a made-up run whose reports, names and settings are all hostile."""
    metrics, kept, embedder = evaluate()
    examples = Examples(
        gallery=retrieval_gallery(embedder, None, "test", queries=2),
        embeddings=embedding_map(embedder, None, "test"),
        maps=made_up_maps(),
        parameters=1_370_000,
    )
    return write(
        tmp_path_factory.mktemp("run"),
        metrics=metrics,
        kept=kept,
        examples=examples,
        config={"name": HOSTILE, HOSTILE: HOSTILE, "data": {"resplit": "leaky"}},
        manifest={**MANIFEST, "name": HOSTILE, "dropped_by_reason": {HOSTILE: 1}},
    )


def test_outside_text_stays_text(full):
    templates = sorted(pathlib.Path(page.__file__).parent.glob("*.html.j2"))
    template = "".join(path.read_text(encoding="utf-8") for path in templates)
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
    assert "optim. lr 0.001" in written.text
    assert "empty_report 3" in written.text


def test_slices_are_shown_as_they_are(full):
    image = picture(next(i for i in full.attributes("img") if "axial" in i["alt"]))
    pixels = np.asarray(image)
    assert image.mode == "L"
    assert pixels.shape == (4, 4)
    assert (pixels == pixels[0, 0]).all()  # the fake embedder paints a row's number


def test_an_unmeasured_task_and_a_run_without_numbers_say_so(tmp_path):
    metrics = {
        "test/zero_shot/compression/images": 9.0,
        "test/zero_shot/compression/positives": 0.0,
    }
    manifest = MANIFEST | {"findings_source": "given"}
    text = write(tmp_path, metrics=metrics, manifest=manifest).text
    assert "Not measured: thecal sac or nerve root compression at the level; a task needs" in text
    assert "Nothing was measured" in write(tmp_path, metrics={}, history=[]).text


def test_the_same_run_gives_the_same_bytes(tmp_path):
    write(tmp_path)
    first = (tmp_path / "report.html").read_bytes()
    write(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == first


def test_a_leaking_split_is_said_first(full, tmp_path):
    assert resplit.WARNING in full.text
    assert full.text.index("These numbers are no results") < full.text.index("At a glance")
    assert "better than chance" not in full.text.partition("At a glance")[2].split("Chance")[0]
    alone = write(tmp_path).text
    assert "no results" not in alone
    assert "better than chance" in alone


def test_without_the_data_set_the_page_says_what_is_missing(tmp_path):
    assert "need the data set" in write(tmp_path).text


@pytest.mark.slow
def test_the_command_draws_a_run_again(tiny_run, tmp_path):
    out = tmp_path / "page.html"
    command = [sys.executable, "-m", "lumbarclip_jax.report", f"--workdir={tiny_run.folder}"]
    # One device: the eight of the tests take eight times as long to compile for.
    environment = os.environ | {"XLA_FLAGS": ""}
    done = subprocess.run(
        [*command, f"--out={out}"], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    text = Page(out).text
    assert "Where it looks" in text
    assert "Map of the embeddings" in text
    assert "43.2 %" in text


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a training run \(no config.json\)"):
        page.write_report(tmp_path)
