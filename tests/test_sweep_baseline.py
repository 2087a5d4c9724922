"""A sweep whose baseline cannot be compared with the others: what its page says."""

from lumbarclip_jax.sweep.pages import write_pages
from tests.planted_runs import complete, planned
from tests.test_sweep_tables import page_of


def run_of(out, model, *, seed=0):
    run = planned(out, model, seed=seed)
    complete(run, ranks=[1, 2] * 20, patients=[f"p{i:02d}" for i in range(40)])
    return run


def test_a_baseline_without_a_complete_run_is_compared_with_nothing(tmp_path):
    page = page_of([run_of(tmp_path, "vit_linear")], baseline="swin_mlp")
    assert "swin_mlp has no complete run yet, so nothing is compared with it." in page.notes
    markdown, *_ = (path.read_text() for path in write_pages(page, tmp_path))
    assert "| ViT, linear |" in markdown
    assert "less swin_mlp" not in markdown


def test_models_of_other_seeds_are_not_compared(tmp_path):
    runs = [run_of(tmp_path, "vit_linear"), run_of(tmp_path, "swin_mlp", seed=1)]
    page = page_of(runs, baseline="swin_mlp")
    assert "No other model has the seeds of swin_mlp, so nothing is marked." in page.notes
    assert not page.difference_blocks
