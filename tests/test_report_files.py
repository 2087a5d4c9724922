"""The figures of a page as SVG and PDF, and the numbers in them as CSV."""

import csv
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from lumbarclip_jax.report.embedding_map import embedding_map
from lumbarclip_jax.report.figure_files import file_name, save_figures
from lumbarclip_jax.report.figures import training_curves
from lumbarclip_jax.report.map_pictures import embedding_pictures
from lumbarclip_jax.report.page import write_report
from lumbarclip_jax.run_folder import receipt
from tests.report_pages import HOSTILE, evaluate, write


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """(the folder of an evaluated run, what was kept, its embedder) with the page and figures."""
    folder = tmp_path_factory.mktemp("run")
    metrics, kept, embedder = evaluate()
    write(folder, metrics=metrics, kept=kept)
    return folder, kept, embedder


def rows_of(folder, name: str) -> list[dict]:
    return list(csv.DictReader((folder / "figures" / f"{name}.csv").read_text().splitlines()))


def test_every_figure_has_its_three_files(drawn):
    folder, _, _ = drawn
    names = {path.stem for path in (folder / "figures").iterdir()}
    assert names >= {
        "test_forest_auroc",
        "test_disc_displacement_roc",
        "test_disc_displacement_precision_recall",
        "test_disc_displacement_reliability_zero_shot",
        "test_disc_displacement_reliability_linear_probe",
        "training_loss",
        "validation_retrieval_recall_at_5_over_training",
    }
    for name in names:
        svg, pdf, table = ((folder / "figures" / f"{name}.{k}") for k in ("svg", "pdf", "csv"))
        assert ElementTree.parse(svg).getroot().tag.endswith("svg")
        assert pdf.read_bytes().startswith(b"%PDF")
        assert len(table.read_text().splitlines()) > 1


def test_the_numbers_are_those_of_the_figure(drawn):
    folder, kept, _ = drawn
    predicted = kept.predictions["test/zero_shot/disc_displacement"]
    auroc = roc_auc_score(predicted.labels, predicted.probabilities[:, 1])
    curve = [row for row in rows_of(folder, "test_disc_displacement_roc") if row["sensitivity"]]
    x, y = np.array(
        [
            (row["one_minus_specificity"], row["sensitivity"])
            for row in curve
            if row["line"] == "Zero-shot"
        ],
        float,
    ).T
    assert np.trapezoid(y, x) == pytest.approx(auroc, abs=1e-5)
    forest = {row["method"]: row for row in rows_of(folder, "test_forest_auroc")}
    assert float(forest["Zero-shot"]["auroc"]) == pytest.approx(auroc, abs=1e-6)
    low, high = (float(forest["Zero-shot"][end]) for end in ("ci_low", "ci_high"))
    assert low <= auroc <= high
    reliability = rows_of(folder, "test_disc_displacement_reliability_zero_shot")
    assert {"predicted_probability", "observed_frequency"} <= set(reliability[0])
    assert [row["loss"] for row in rows_of(folder, "training_loss")] == ["3", "2"]


def test_figures_say_what_their_axes_are(drawn):
    folder, _, _ = drawn
    svg = (folder / "figures" / "test_disc_displacement_reliability_zero_shot.svg").read_text()
    assert "Predicted probability" in svg
    assert "Observed frequency" in svg


def test_figures_are_drawn_anew_with_the_page_and_hold_no_report(drawn, tmp_path):
    folder, _, embedder = drawn
    figures = folder / "figures"
    before = {path.name: path.read_bytes() for path in figures.iterdir()}
    (figures / "of_an_earlier_page.svg").write_text("")
    (figures / "notes.txt").write_text("mine")
    write_report(folder)
    after = {path.name: path.read_bytes() for path in figures.iterdir()}
    assert after.pop("notes.txt") == b"mine"
    assert after == before
    assert not any(b"alert(1)" in content for content in after.values())
    save_figures(embedding_pictures(embedding_map(embedder, None, "test")), tmp_path)
    points = rows_of(tmp_path, "test_embeddings_by_level")
    assert len(points) == 120
    assert set(points[0]) == {"pair", "kind", "x", "y", "level"}


def test_a_page_elsewhere_leaves_the_figures_of_the_run_alone(drawn, tmp_path):
    folder, _, _ = drawn
    before = sorted(path.stat().st_mtime_ns for path in (folder / "figures").iterdir())
    write_report(folder, out=tmp_path / "page.html")
    assert sorted(path.stat().st_mtime_ns for path in (folder / "figures").iterdir()) == before
    assert list(tmp_path.iterdir()) == [tmp_path / "page.html"]
    assert "figures/" not in (tmp_path / "page.html").read_text()


def test_names_from_outside_stay_in_the_folder_and_two_of_one_name_apart(tmp_path):
    assert file_name("../../Etc ") == "etc"
    assert "/" not in file_name(HOSTILE)
    same = training_curves([{"step": 1, "=loss": 3.0}]) * 2
    save_figures(same, tmp_path)
    assert {path.name for path in (tmp_path / "figures").glob("*.csv")} == {
        "training_loss.csv",
        "training_loss_2.csv",
    }
    # A spreadsheet would compute a cell that begins so.
    assert (tmp_path / "figures" / "training_loss.csv").read_text().startswith("step,'=loss\n")


def test_the_receipt_of_a_run_leaves_figures_out(drawn):
    """They are redrawn from what it lists, and a run of an earlier version has none."""
    folder, _, _ = drawn
    receipt.write(folder, ("metrics.json", "report.html"))
    (folder / "figures" / "training_loss.svg").unlink()
    assert not receipt.fault(folder)
    assert "figures" not in (folder / receipt.FILE).read_text()
