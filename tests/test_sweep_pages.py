"""The page of a sweep as it is read: the best in bold, a forest plot, links, a narrow screen."""

import json

import numpy as np
import pytest

from lumbarclip_jax.sweep.forest import forests
from lumbarclip_jax.sweep.notes import notes
from lumbarclip_jax.sweep.pages import Page, run_links, write_pages
from lumbarclip_jax.sweep.results import read_results
from lumbarclip_jax.sweep.table import ablation
from tests import report_pages
from tests.planted_runs import MANIFEST, complete, planned, predictions

PATIENTS = [f"p{i:02d}" for i in range(20)]
LABELS = [0, 1] * 10
RIGHT = np.array(LABELS) * 0.5 + 0.2  # AUROC 1
HALF = np.where(np.arange(20) < 10, RIGHT, 0.9 - RIGHT)  # AUROC of one half right, one half wrong


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """(folder, runs, table) of two models: ViT ranks better, the ResNet answers better."""
    out = tmp_path_factory.mktemp("a sweep")
    runs = []
    for model, ranks, scores in (
        ("vit_linear", [1] * 15 + [9] * 5, HALF),
        ("resnet_linear", [1] * 5 + [9] * 15, RIGHT),
    ):
        for seed in (0, 1):
            run = planned(out, model, seed=seed)
            complete(
                run,
                ranks=ranks,
                patients=PATIENTS,
                metrics={"test/retrieval/image_to_text_recall_at_5_chance": 0.25},
                compression=predictions(LABELS, scores, PATIENTS),
            )
            runs.append(run)
    runs.append(planned(out, "swin_linear"))  # never trained
    return out, runs, ablation(read_results(runs), resamples=100)


def write(swept) -> tuple[str, report_pages.Page]:
    out, runs, table = swept
    page = Page("python", [], table, None, [], run_links(runs, out))
    markdown, html, _ = write_pages(page, out)
    return markdown.read_text(), report_pages.Page(html)


def test_only_the_best_of_a_column_is_bold(swept):
    markdown, _ = write(swept)
    retrieval = [line for line in markdown.splitlines() if line.startswith(("| ViT", "| ResNet"))]
    vit, resnet = retrieval[:2]
    assert vit.startswith("| ViT, linear | **0.750 [")
    assert resnet.startswith("| ResNet, linear | 0.250 [")
    # Recall at 10 is 1 of both, so neither is the best.
    assert [cell.count("**") for cell in vit.split("|")[2:5]] == [2, 2, 0]
    zero_shot = markdown[markdown.index("### Zero-shot") :].splitlines()
    assert next(line for line in zero_shot if "ResNet" in line).count("**") == 2
    assert next(line for line in zero_shot if "ViT" in line).count("**") == 0
    assert not any("**" in line for line in markdown.splitlines() if line.startswith("| chance"))


def test_the_forest_plot_has_every_model_with_its_interval_and_chance(swept):
    _, _, table = swept
    recall, auroc = forests(table)
    assert recall.title == "Retrieval, Image → report: Recall at 5"
    assert [(line.label, line.row.value, line.cell.is_best) for line in recall.lines] == [
        ("ViT, linear", 0.75, True),
        ("ResNet, linear", 0.25, False),
    ]
    assert recall.lines[0].row.chance == 0.25
    assert auroc.title.endswith("AUROC")
    for line in (*recall.lines, *auroc.lines):
        assert line.row.low <= line.row.value <= line.row.high
    _, html = write(swept)
    strips = [of for of in html.attributes("div") if of.get("class") == "strip"]
    assert len(strips) == 4
    assert html.text.count("0 0.25 0.5 0.75 1") == 2


def test_every_complete_run_is_linked_to(swept):
    out, _, _ = swept
    _, html = write(swept)
    links = [of["href"] for of in html.attributes("a")]
    pages = [link for link in links if not link.startswith("#")]
    assert pages == [
        f"runs/{model}_seed{seed}/report.html"
        for model in ("vit_linear", "resnet_linear")
        for seed in (0, 1)
    ]
    assert all((out / page).is_file() for page in pages)
    ids = {attributes.get("id") for _, attributes in html.tags}
    assert {link[1:] for link in links if link.startswith("#")} == {
        "model-vit_linear",
        "model-resnet_linear",
    }
    assert {link[1:] for link in links if link.startswith("#")} <= ids
    assert run_links([planned(out, "x_linear")], out) == []


def test_a_sweep_of_invented_patients_says_so_first(tmp_path, swept):
    _, _, table = swept
    runs = []
    for source in ("phantom: raw DICOM", "mendeley: ready slices"):
        run = planned(tmp_path / source[:7], "vit_linear")
        complete(run, ranks=[1], patients=["a"])
        manifest = json.dumps(MANIFEST | {"source": source})
        (run.folder / "data_manifest.json").write_text(manifest)
        runs.append(run)
    phantom, real = (notes([run], table, 100) for run in runs)
    assert phantom[0].startswith("Invented patients: every image and report was made by a program")
    assert not any("Invented" in note for note in real)


def test_a_narrow_screen_stacks_the_numbers(swept):
    """No table is wider than a telephone: each number brings the head of its column along."""
    _, html = write(swept)
    classes = [table.get("class") for table in html.attributes("table")]
    assert set(classes) == {"overview", "forest"}
    cells = [of for of in html.attributes("td") if "data-name" in of]
    assert len(cells) > 10
    assert all(of["data-name"] for of in cells)
    style = html.texts[next(i for i, text in enumerate(html.texts) if ":root" in text)]
    narrow = style[style.index("@media (max-width: 42rem)") :]
    assert ".overview tr { display: grid;" in narrow
    assert ".forest tr { display: grid;" in narrow
    assert not [of for of in html.attributes("div") if of.get("class") in ("scroll", "wide")]


def test_heads_have_a_scope_and_the_page_a_main_part(swept):
    _, html = write(swept)
    assert all(of.get("scope") in ("col", "row") for of in html.attributes("th"))
    assert len(html.attributes("main")) == 1


def test_a_sweep_without_a_complete_run_says_so(tmp_path):
    paths = write_pages(Page("python", [], None, None, [("a", "b")], []), tmp_path)
    assert "No model has a complete run yet." in report_pages.Page(paths[1]).text
