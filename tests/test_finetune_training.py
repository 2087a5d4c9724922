"""Training on labels: what is fitted, what is chosen on, what is measured."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lumbarclip_jax import sharding
from lumbarclip_jax.data.dataset import Dataset
from lumbarclip_jax.data.tasks import TASKS, UNLABELLED
from lumbarclip_jax.finetune import initial_encoder, measuring, pixels, training
from lumbarclip_jax.finetune.examples import Examples
from lumbarclip_jax.finetune.network import Network, make_probabilities
from lumbarclip_jax.finetune.recipe import default_recipe, plain_recipe
from lumbarclip_jax.models.classifier import ImageClassifier
from lumbarclip_jax.models.small_cnn import SmallCNN
from lumbarclip_jax.training import train_step

PAIR = (TASKS["pfirrmann_ge_3"], TASKS["disc_displacement"])


@pytest.fixture(scope="module")
def dataset(tiny_dataset) -> Dataset:
    return Dataset(tiny_dataset)


@pytest.fixture(scope="module")
def splits(dataset) -> list[Examples]:
    return [Examples.of(dataset, split, PAIR) for split in ("train", "validation", "test")]


def tiny_start() -> initial_encoder.InitialEncoder:
    return initial_encoder.InitialEncoder(SmallCNN((4, 8)), crop_px=28, image_size_px=16)


def tiny_recipe(**fields):
    recipe = default_recipe()
    recipe.update(epochs=2, **fields)
    recipe.data.global_batch_size = 16
    return recipe


def train(*arguments, strategy="mamix_drw", seed=0, folder):
    return training.train(*arguments, strategy=strategy, seed=seed, folder=folder)


def test_examples_are_the_images_with_a_label_of_some_task(dataset):
    columns = dataset.columns("train")
    labels = [task.labels(columns) for task in PAIR]
    examples = Examples.of(dataset, "train", PAIR)
    expected = np.flatnonzero((labels[0] != UNLABELLED) | (labels[1] != UNLABELLED))
    np.testing.assert_array_equal(examples.rows, expected)
    np.testing.assert_array_equal(examples.labels["disc_displacement"], labels[1][expected])
    assert examples.counts["pfirrmann_ge_3"].sum() == (labels[0] != UNLABELLED).sum()
    np.testing.assert_array_equal(examples.levels.sum(axis=1), 1)


def test_parts_are_whole_patients_and_lie_within_larger_parts(splits):
    train = splits[0]
    patients = {1.0: set(train.columns.patient_id)}
    for fraction in (0.5, 0.2):
        part = train.part_of_patients(fraction, seed=3)
        patients[fraction] = set(part.columns.patient_id)
        of_them = np.isin(train.columns.patient_id, list(patients[fraction]))
        assert len(part) == of_them.sum()
        assert all((counts > 0).all() for counts in part.counts.values())
    assert patients[0.2] <= patients[0.5] < patients[1.0]
    assert len(patients[0.5]) == round(0.5 * len(patients[1.0]))


@pytest.mark.parametrize("fraction", [0, -1, 1.5])
def test_a_part_is_a_part(splits, fraction):
    with pytest.raises(ValueError, match="label_fraction"):
        splits[0].part_of_patients(fraction, seed=0)


def test_a_task_without_labels_is_an_error_that_names_it(dataset):
    nothing = dataclasses.replace(
        PAIR[0], name="nothing", labels=lambda c: np.full(len(c.level), -1)
    )
    with pytest.raises(ValueError, match="nothing cannot be learnt"):
        Examples.of(dataset, "train", (nothing,))


class Spy:
    """A data set that notes which split's pixels and labels are asked for."""

    def __init__(self, dataset):
        self._dataset = dataset
        self.seen, self.features = set(), set()

    def __getattr__(self, name):
        return getattr(self._dataset, name)

    def images(self, split, rows):
        self.seen.add(split)
        return self._dataset.images(split, rows)

    def columns(self, split):
        self.seen.add(split)
        return self._dataset.columns(split)

    def source(self, split):
        self.seen.add(split)
        return self._dataset.source(split)

    def partial_source(self, split, names):
        self.seen.add(split)
        self.features |= set(names)
        return self._dataset.partial_source(split, names)


def test_training_looks_at_train_and_validation_alone(dataset, tmp_path):
    spy = Spy(dataset)
    parts = [Examples.of(spy, split, PAIR) for split in ("train", "validation")]
    train(tiny_start(), *parts, tiny_recipe(), strategy="mamix_drw", folder=tmp_path)
    assert spy.features == {"image"}  # nothing else is read of a record
    pixels.fit_pixels(*parts)
    assert spy.seen == {"train", "validation"}


@pytest.mark.slow
def test_a_label_that_can_be_seen_is_learnt(splits, tmp_path):
    """Planted: pixels are bright where the label is 1; a network must find it, on new patients."""

    class Planted(Spy):
        def __init__(self, of: Examples):
            super().__init__(of.dataset)
            self.labels = of.labels["pfirrmann_ge_3"]
            self.rows = of.rows

        def images(self, split, rows):
            places = np.searchsorted(self.rows, rows)
            images = np.random.default_rng(0).integers(90, 110, (len(rows), 32, 32, 1))
            images[self.labels[places] == 1, 12:20, 12:20] += 100
            return images.astype(np.uint8)

        def partial_source(self, split, names):
            return PlantedRecords(self)

    class PlantedRecords:
        def __init__(self, planted: Planted):
            self._planted = planted

        def __len__(self):
            return self._planted.rows.max() + 1

        def __getitems__(self, rows):
            return [{"image": image} for image in self._planted.images("", np.array(rows))]

    task = PAIR[:1]
    planted = [dataclasses.replace(part, dataset=Planted(part), tasks=task) for part in splits]
    recipe = tiny_recipe(members=2)
    recipe.epochs = 25
    recipe.data.augment.update(translate=0.0)
    classifier = train(tiny_start(), *planted[:2], recipe, folder=tmp_path)
    said = planted[2].predictions(task[0], classifier(planted[2])["pfirrmann_ge_3"])
    assert said.metrics(np.ones((1, len(said.labels))))["auroc"][0] > 0.95


def test_the_epoch_with_the_least_validation_loss_is_kept(splits, monkeypatch, tmp_path):
    losses = iter([0.9, 0.4, 0.7, 0.9, 0.4, 0.7])
    seen = []

    def scripted(examples, probabilities):
        seen.append(probabilities["pfirrmann_ge_3"].copy())
        return next(losses)

    monkeypatch.setattr(training, "log_loss", scripted)
    recipe = tiny_recipe()
    recipe.epochs = 3
    classifier = train(tiny_start(), *splits[:2], recipe, strategy="erm", seed=1, folder=tmp_path)
    assert classifier.epochs == (2,)
    kept = classifier(splits[1])["pfirrmann_ge_3"]
    np.testing.assert_allclose(kept, seen[1], atol=1e-6)
    assert np.abs(kept - seen[2]).max() > 1e-4


def test_log_loss_is_the_mean_over_tasks(splits):
    test = splits[2]
    even = {task.name: np.full((len(test), 2), 0.5) for task in PAIR}
    assert training.log_loss(test, even) == pytest.approx(np.log(2))
    sure = even | {"pfirrmann_ge_3": np.eye(2)[test.labels["pfirrmann_ge_3"]]}
    assert training.log_loss(test, sure) == pytest.approx(np.log(2) / 2)


def test_mirrored_images_have_the_same_probabilities(splits):
    recipe = tiny_recipe()
    model = ImageClassifier(SmallCNN((4, 8)), (("pfirrmann_ge_3", 2),))
    pixels = Network(tiny_start(), (("pfirrmann_ge_3", 2),), recipe, None).pixels
    probabilities = make_probabilities(model, pixels)
    images, levels = splits[2].images(np.arange(4)), splits[2].levels[:4]
    variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 1)), jnp.zeros((1, 3)))
    said = probabilities(variables, images, levels)["pfirrmann_ge_3"]
    mirrored = probabilities(variables, images[:, :, ::-1], levels)["pfirrmann_ge_3"]
    np.testing.assert_allclose(said, mirrored, atol=1e-5)
    np.testing.assert_allclose(said.sum(axis=1), 1, rtol=1e-5)


def test_a_run_s_encoder_is_where_training_starts(tiny_run, splits):
    initial = initial_encoder.from_run(tiny_run)
    network = Network(initial, (("pfirrmann_ge_3", 2),), default_recipe(), None)
    config = training.member_config(initial, splits[0], default_recipe(), "erm", 0)
    state, _ = train_step.create_train_state(network.model, config, network.mesh)
    state = train_step.replace_variables(state, network.start)
    trained = tiny_run.state.params["image_encoder"]
    for made in (state.params, state.averaged["params"]):
        jax.tree.map(np.testing.assert_array_equal, made["encoder"], trained)


def test_new_weights_are_another_start(tiny_run):
    again = initial_encoder.from_run(tiny_run, new_weights=True)
    assert again.variables is None
    assert again.encoder == initial_encoder.from_run(tiny_run).encoder
    assert again.image_size_px == tiny_run.config.data.image_size_px


def test_small_resnet_halves_at_stem_and_stages():
    network = initial_encoder.small_resnet().encoder
    outputs, variables = network.init_with_output(jax.random.key(0), jnp.ones((2, 32, 48, 1)))
    assert outputs["last_hidden_state"].shape == (2, 2, 3, 128)
    assert outputs["pooled"].shape == (2, 128)
    # Names and shapes that classifiers were saved with in November 2026.
    block = sharding.unbox(variables)["params"]["stage_1_block_0"]
    assert {name: part["kernel"].shape for name, part in block.items() if "conv" in name} == {
        "conv_0": (3, 3, 32, 64),
        "conv_1": (3, 3, 64, 64),
        "conv_shortcut": (1, 1, 32, 64),
    }


@pytest.mark.parametrize("cosine_scale", [None, 30.0])
def test_heads_see_features_and_level(cosine_scale):
    model = ImageClassifier(SmallCNN((4,)), (("a", 2), ("b", 5)), cosine_scale=cosine_scale)
    images = jax.random.normal(jax.random.key(0), (3, 8, 8, 1))
    levels = jnp.eye(3)
    variables = model.init(jax.random.key(1), images, levels)
    logits = model.apply(variables, images, levels)
    assert {name: of.shape for name, of in logits.items()} == {
        "logits/a": (3, 2),
        "logits/b": (3, 5),
    }
    elsewhere = model.apply(variables, images, levels[::-1])
    assert float(jnp.abs(logits["logits/a"] - elsewhere["logits/a"])[0].max()) > 1e-3
    if cosine_scale:
        assert float(jnp.abs(logits["logits/b"]).max()) <= cosine_scale


def test_folds_are_pooled_row_by_row(splits):
    train, validation, test = splits

    def constant(value):
        return lambda examples: {
            task.name: np.tile([[1 - value, value]], (len(examples), 1)) for task in PAIR
        }

    def answered(value, measured):
        fitted = measuring.fitted(constant(value), train, validation)
        return measuring.answers(constant(value), fitted, measured)

    folds = [answered(0.2, test), answered(0.8, validation)]
    pooled = measuring.pooled(folds)[PAIR[0]]
    first, second = (fold[PAIR[0]].measured for fold in folds)
    said = pooled.measured.probabilities[:, 1]
    np.testing.assert_allclose(said, [0.2] * len(first.labels) + [0.8] * len(second.labels))
    assert pooled.measured.patient_id.tolist() == [*first.patient_id, *second.patient_id]
    assert pooled.temperatures == {}
    assert folds[0][PAIR[0]].temperatures.keys() == {"", "/by_patient"}
    with pytest.raises(ValueError, match="measured by two folds"):
        measuring.pooled([folds[0], folds[0]])


def test_the_plain_recipe_is_plain():
    recipe = plain_recipe()
    assert (recipe.epochs, recipe.members) == (24, 1)
    assert (recipe.optim.ema_decay, recipe.model.dropout) == (0, 0)
    assert recipe.data.augment.to_dict() == {
        "scale": 0,
        "scale_up": None,
        "translate": 0,
        "rotate_deg": 0,
        "gamma": 0,
        "brightness": 0,
        "contrast": 0,
        "noise": 0,
        "mirror": True,
    }
