"""A page for everyone: contrast in light and dark, heads of tables, a main part, axes."""

import pathlib
import re

import pytest

from lumbarclip_jax.report import page
from tests.report_pages import evaluate, write

STYLE = pathlib.Path(page.__file__).with_name("style.css.j2").read_text()
# Text on what lies under it.
PAIRS = (
    *(("ink", under) for under in ("paper", "wash", "bad-wash", "good-wash")),
    *(("muted", under) for under in ("paper", "wash")),
    *(("accent", "paper"), ("good", "paper"), ("good", "good-wash"), ("bad", "bad-wash")),
)


LIGHT, DARK = (block for block in re.findall(r":root\s*{([^}]*)}", STYLE) if "--ink" in block)


def colours(theme: str) -> dict[str, str]:
    block = {"light": LIGHT, "dark": DARK}[theme]
    return dict(re.findall(r"--([\w-]+):\s*([^;]+);", block))


def luminance(colour: str) -> float:
    """Relative luminance of `#rgb` or `#rrggbb`, by WCAG 2.2."""
    digits = colour.strip().removeprefix("#")
    if len(digits) == 3:
        digits = "".join(2 * digit for digit in digits)
    channels = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_contrast_by_hand():
    assert contrast("#000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(theme):
    found = colours(theme)
    ratios = {pair: contrast(*(found[name] for name in pair)) for pair in PAIRS}
    assert not {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_cells_of_the_confusion_matrix_can_be_read(theme):
    """Their colour is laid over the paper at 0.45 at most."""
    assert "background: rgb(var(--cell) / calc(.45 * var(--share)))" in STYLE
    found = colours(theme)
    paper = [int(found["paper"].removeprefix("#").ljust(6, "f")[k : k + 2], 16) for k in (0, 2, 4)]
    mixed = [
        round(0.45 * int(c) + 0.55 * p) for c, p in zip(found["cell"].split(), paper, strict=True)
    ]
    assert contrast(found["ink"], "#" + "".join(f"{c:02x}" for c in mixed)) >= 4.5


def test_every_colour_changes_in_the_dark():
    assert "prefers-color-scheme: dark" in STYLE
    assert set(colours("light")) == set(colours("dark"))
    # No rule beside the two themes has a colour of its own, but for black under slices.
    rest = STYLE.replace(LIGHT, "").replace(DARK, "")
    assert set(re.findall(r"#[0-9a-f]{3,6}\b", rest)) <= {"#000"}


def test_tables_name_their_heads_and_the_page_its_main_part(tmp_path):
    metrics, kept, _ = evaluate()
    written = write(tmp_path, metrics=metrics, kept=kept)
    heads = written.attributes("th")
    assert len(heads) > 20
    assert all(head.get("scope") in ("col", "row") for head in heads)
    assert len(written.attributes("main")) == 1
    assert written.attributes("html")[0]["lang"] == "en"


def test_figures_turn_dark_and_slices_do_not(tmp_path):
    written = write(tmp_path)
    assert {image.get("class") for image in written.attributes("img")} == {"drawn"}
    assert "img.drawn { filter: invert(1)" in STYLE


def test_the_forest_plot_has_an_axis(tmp_path):
    metrics, kept, _ = evaluate()
    text = write(tmp_path, metrics=metrics, kept=kept).text
    forest = text[text.index("All tasks at once") : text.index("How to read the pictures")]
    assert forest.count("0 0.25 0.5 0.75 1") == 2
    assert forest.rstrip().endswith("AUROC")
