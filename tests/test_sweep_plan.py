"""What a sweep is made of: patterns of configs, resolved configs, names, and what is refused."""

import pathlib

import pytest

from lumbarclip_jax.sweep.plan import expand, plan_runs, split_arguments

# ml_collections loads run files so; main, which has no warnings as errors, does too.
pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")

SIX = "configs/{vit,swin,resnet}_{linear,mlp}.py"


def plan(patterns="configs/vit_{linear,mlp}.py", **options):
    defaults = {
        "size": "quick",
        "seeds": 1,
        "folds": 0,
        "leaky": False,
        "data_dir": "data",
        "overrides": (),
        "out": pathlib.Path("out"),
    }
    return plan_runs(patterns, **(defaults | options))


def test_patterns_are_those_of_a_shell():
    assert [path.stem for path in expand(SIX)] == [
        "vit_linear",
        "vit_mlp",
        "swin_linear",
        "swin_mlp",
        "resnet_linear",
        "resnet_mlp",
    ]
    assert [path.stem for path in expand("configs/[rsv]*_mlp.py")] == [
        "resnet_mlp",
        "swin_mlp",
        "vit_mlp",
    ]
    nested = expand("configs/{vit_{mlp,linear},swin_mlp}.py")
    assert sorted(path.stem for path in nested) == ["swin_mlp", "vit_linear", "vit_mlp"]
    assert [path.stem for path in expand("configs/{vit,v?t}_mlp.py")] == ["vit_mlp"]


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("configs/{vit,swim}_mlp.py", "no file matches 'configs/swim_mlp.py'"),
        ("configs/{vit,swin_mlp.py", "a brace without its partner"),
        ("configs/vit}_mlp.py", "a brace without its partner"),
    ],
)
def test_patterns_that_match_nothing_are_named(pattern, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        expand(pattern)


def test_studies_and_images_are_no_rows_of_one_table():
    with pytest.raises(ValueError, match="family_study is measured by study and family_base by im"):
        plan("configs/family_{base,study}.py", data_dir="")
    by_study = ["--config.eval.unit=study"]
    assert len(plan("configs/family_{base,study}.py", data_dir="", overrides=by_study)) == 2


def test_two_files_of_one_name_are_refused(tmp_path):
    (tmp_path / "vit_mlp.py").write_text("")
    with pytest.raises(ValueError, match=r"two files called vit_mlp\.py"):
        expand(f"{{configs,{tmp_path}}}/vit_mlp.py")


def test_every_config_split_and_seed_is_a_run_with_its_own_folder():
    runs = plan(seeds=2, folds=2, leaky=True, overrides=["--config.optim.lr=0.5"])
    assert len(runs) == 2 * 2 * 3
    assert [run.name for run in runs[:6]] == [
        "vit_linear_fold_1_of_2_seed0",
        "vit_mlp_fold_1_of_2_seed0",
        "vit_linear_fold_2_of_2_seed0",
        "vit_mlp_fold_2_of_2_seed0",
        "vit_linear_leaky_seed0",
        "vit_mlp_leaky_seed0",
    ]
    last = runs[-1]
    assert (last.encoder, last.head, last.seed, last.is_leaky) == ("vit", "mlp", 1, True)
    assert last.config["optim"]["lr"] == 0.5
    assert last.config["seed"] == 1
    assert last.config["data"]["dir"] == "data"
    assert last.config["name"] == "vit_mlp_quick"
    assert last.arguments[0] == "--config=configs/vit_mlp.py:quick"
    assert plan(size="full")[0].config["name"] == "vit_linear"


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "--config.optim.lrr=1",
            "configs/vit_linear.py: unknown config field lrr, did you mean lr",
        ),
        ("--config.optim.lr=fast", "could not convert string to float: 'fast'"),
        ("--config.total_steps=0", "total_steps=0 must be at least 1"),
        ("--config.seed=3", "--config.seed=3 is set by the sweep: use --seeds instead"),
        ("--config.data.resplit=leaky", "use --folds instead"),
        ("--config.optim.lr", "--config.optim.lr has no value"),
    ],
)
def test_overrides_are_checked_before_anything_is_trained(override, sentence):
    with pytest.raises(ValueError, match=sentence.replace(".", r"\.")):
        plan(overrides=[override])


def test_a_file_that_is_no_run_file_is_named():
    with pytest.raises(ValueError, match=r"configs/__init__\.py has no get_config"):
        plan("configs/__init__.py")


def test_fields_of_a_sweep_are_written_either_way():
    given = ["x", "--config.optim.lr", "3e-4", "--out", "d", "--config.seed=7", "--jobs=2"]
    own, fields = split_arguments(given)
    assert own == ["x", "--out", "d", "--jobs=2"]
    assert fields == ["--config.optim.lr=3e-4", "--config.seed=7"]
