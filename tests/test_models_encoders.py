"""What the encoders promise whatever their weights: sizes, pooling, padding, grey images."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import meta

from lumbarclip_jax.models import stack_layers, unstack_layers
from lumbarclip_jax.models.bert import Bert
from lumbarclip_jax.models.layers import DropPath
from lumbarclip_jax.models.patches import bicubic_matrix, resize_positions
from lumbarclip_jax.models.resnet import ResNet
from lumbarclip_jax.models.swin import Swin
from lumbarclip_jax.models.variants import bert_sizes, resnet_sizes, swin_sizes, vit_sizes
from lumbarclip_jax.models.vit import ViT
from tests.golden.cases import random_variables

SIZES = {"width": 16, "depth": 2, "heads": 2, "mlp_width": 24}
IMAGE_ENCODERS = {
    "vit": ViT(**SIZES, patch_size=8),
    "vit of siglip": ViT(**SIZES, patch_size=8, pooling="map", use_class_token=False),
    "swin": Swin(8, (2,), (2,), patch_size=4, window=4),
    "resnet": ResNet(8, (16,), (1,)),
}
BERT = Bert(50, **SIZES, max_positions=16)
IMAGES = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
IDS = jax.random.randint(jax.random.key(1), (3, 10), 5, 50)
MASK = (jnp.arange(10)[None] < jnp.array([[10], [6], [1]])).astype(jnp.int32)


def count(module, *inputs) -> int:
    shapes = meta.unbox(jax.eval_shape(module.init, jax.random.key(0), *inputs))["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


def assert_close(actual, expected, tolerance=1e-5):
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance),
        actual,
        expected,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "backbone", "with_head"),
    [
        (ViT(**vit_sizes("Ti/16")), 5_524_416, 5_717_416),
        (ViT(**vit_sizes("S/16")), 21_665_664, 22_050_664),
        (ViT(**vit_sizes("B/16")), 85_798_656, 86_567_656),
        (ViT(**vit_sizes("B/32")), 87_455_232, 88_224_232),
        (ViT(**vit_sizes("L/16")), 303_301_632, 304_326_632),
        (Swin(**swin_sizes("T")), 27_519_354, 28_288_354),
        (Swin(**swin_sizes("S")), 48_837_258, 49_606_258),
        (Swin(**swin_sizes("B")), 86_743_224, 87_768_224),
        (ResNet(**resnet_sizes("18")), 11_176_512, 11_689_512),
        (ResNet(**resnet_sizes("34")), 21_284_672, 21_797_672),
        (ResNet(**resnet_sizes("50")), 23_508_032, 25_557_032),
        (ResNet(**resnet_sizes("101")), 42_500_160, 44_549_160),
    ],
)
def test_image_encoders_have_the_published_number_of_parameters(module, backbone, with_head):
    """`with_head` is the size that papers print: with a linear layer to 1,000 classes."""
    images = jnp.zeros((1, 224, 224, 3))
    assert count(module, images) == backbone
    pooled = jax.eval_shape(
        lambda key: module.init_with_output(key, images)[0]["pooled"], jax.random.key(0)
    )
    assert backbone + 1000 * (pooled.shape[-1] + 1) == with_head


@pytest.mark.parametrize(
    ("variant", "parameters"),
    [
        ("tiny", 4_385_920),
        ("mini", 11_170_560),
        ("small", 28_763_648),
        ("medium", 41_373_184),
        ("base", 109_482_240),
        ("large", 335_141_888),
    ],
)
def test_bert_has_the_published_number_of_parameters(variant, parameters):
    module = Bert(30522, **bert_sizes(variant), pooling="pooler")
    assert count(module, jnp.zeros((1, 4), jnp.int32)) == parameters


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_a_grey_image_is_the_image_repeated_in_three_channels(name):
    module = IMAGE_ENCODERS[name]
    variables = random_variables(module, IMAGES)
    grey = IMAGES[..., :1]

    @jax.jit
    def both(grey):
        return module.apply(variables, grey), module.apply(variables, jnp.repeat(grey, 3, axis=3))

    assert_close(*both(grey))
    with pytest.raises(ValueError, match="images have 2 channels, the encoder takes 3 or 1"):
        module.apply(variables, IMAGES[..., :2])


@pytest.mark.parametrize("name", IMAGE_ENCODERS)
def test_images_of_any_size(name):
    """Smaller than a window, larger than at initialisation, neither square nor a multiple."""
    module = IMAGE_ENCODERS[name]
    variables = random_variables(module, IMAGES)
    for shape in ((8, 8), (37, 58)):
        out = jax.eval_shape(module.apply, variables, jnp.ones((2, *shape, 3)))
        assert out["pooled"].shape == (2, out["last_hidden_state"].shape[-1])


def test_padding_does_not_change_bert():
    apply = jax.jit(BERT.apply)
    variables = random_variables(BERT, IDS, MASK)
    hidden = apply(variables, IDS, MASK)["last_hidden_state"]
    other = apply(variables, jnp.where(MASK > 0, IDS, 3), MASK)["last_hidden_state"]
    np.testing.assert_array_equal(hidden[MASK > 0], other[MASK > 0])
    short = apply(variables, IDS[1:2, :6])["last_hidden_state"]
    assert_close(short, hidden[1:2, :6])


@pytest.mark.parametrize("scan", [False, True])
@pytest.mark.parametrize("remat", [False, True])
def test_chosen_hidden_states_of_bert_are_pooled_in_every_layout(scan, remat):
    bert = BERT.clone(depth=3, pooling="mean_with_padding", pool_layers=(0, 2, -1, -1))
    variables = random_variables(bert, IDS, MASK)
    out, sown = bert.apply(variables, IDS, MASK, mutable="intermediates")
    sown = sown["intermediates"]
    states = [sown["hidden_states"][0], sown["layer_1"]["hidden_states"][0]]
    chosen = [*states, out["last_hidden_state"], out["last_hidden_state"]]
    assert_close(out["pooled"], sum(x.mean(axis=1) for x in chosen) / 4)

    def loss(module, variables):
        return jnp.sum(module.apply(variables, IDS, MASK)["pooled"] ** 3)

    other = bert.clone(scan_layers=scan, remat=remat)
    in_its_layout = stack_layers(variables) if scan else variables
    value, gradients = jax.value_and_grad(loss, argnums=1)(other, in_its_layout)
    gradients = unstack_layers(gradients) if scan else gradients
    assert_close((value, gradients), jax.value_and_grad(loss, argnums=1)(bert, variables), 1e-4)


def test_pooling_with_padding_depends_on_how_far_a_text_is_padded():
    bert = BERT.clone(pooling="mean_with_padding")
    variables = random_variables(bert, IDS, MASK)
    padded = bert.apply(variables, IDS[1:2], MASK[1:2])["pooled"]
    cut = bert.apply(variables, IDS[1:2, :6], MASK[1:2, :6])["pooled"]
    assert np.abs(padded - cut).max() > 1e-2


def test_bert_pooling_looks_under_the_mask_alone():
    hidden = jax.random.normal(jax.random.key(0), (3, 10, 4))
    expected = {
        "cls": hidden[:, 0],
        "mean": jnp.stack([hidden[0].mean(0), hidden[1, :6].mean(0), hidden[2, 0]]),
        "last": jnp.stack([hidden[0, 9], hidden[1, 5], hidden[2, 0]]),
    }
    for pooling, pooled in expected.items():
        assert_close(BERT.clone(pooling=pooling).pool(hidden, MASK), pooled)


def test_bert_refuses_texts_longer_than_its_positions():
    variables = random_variables(BERT, IDS, MASK)
    with pytest.raises(ValueError, match="17 tokens do not fit the 16 positions"):
        BERT.apply(variables, jnp.ones((1, 17), jnp.int32))


def test_vit_mean_pooling_leaves_the_class_token_out():
    hidden = jax.random.normal(jax.random.key(0), (2, 5, 4))
    pooled = IMAGE_ENCODERS["vit"].clone(pooling="mean").pool(hidden)
    assert_close(pooled, hidden[:, 1:].mean(axis=1))


def test_remat_recomputes_every_swin_block():
    module = IMAGE_ENCODERS["swin"].clone(remat=True, drop_path=0.1)
    variables = random_variables(module, IMAGES)

    def forward(variables):
        rngs = {"dropout": jax.random.key(0)}
        return module.apply(variables, IMAGES, train=True, rngs=rngs)["pooled"]

    blocks = [
        [inner.primitive.name for inner in equation.params["jaxpr"].eqns]
        for equation in jax.make_jaxpr(forward)(variables).eqns
        if equation.params.get("name") == "step"
    ]
    assert blocks == 2 * [["remat2"]]


def test_remat_keeps_gradients_and_statistics_of_resnet():
    module = IMAGE_ENCODERS["resnet"]
    variables = random_variables(module, IMAGES)

    def gradients(module):
        def loss(params):
            out, stats = module.apply(
                variables | {"params": params}, IMAGES, train=True, mutable="batch_stats"
            )
            return jnp.sum(out["pooled"] ** 3), stats

        return jax.jit(jax.grad(loss, has_aux=True))(variables["params"])

    assert_close(gradients(module.clone(remat=True)), gradients(module), 1e-4)


def test_dropout_acts_in_training_alone():
    module = BERT.clone(depth=1)
    variables = random_variables(module, IDS, MASK)
    quiet = jax.jit(module.apply)(variables, IDS, MASK)["pooled"]

    @jax.jit
    def noisy(key):
        return module.apply(variables, IDS, MASK, train=True, rngs={"dropout": key})["pooled"]

    first, second = jax.random.split(jax.random.key(0))
    np.testing.assert_array_equal(noisy(first), noisy(first))
    assert not np.allclose(noisy(first), noisy(second))
    assert not np.allclose(noisy(first), quiet)


@pytest.mark.slow
def test_a_training_program_grows_with_depth_alone():
    """Not with its square, as where every block computes the sums of those before it again."""

    def lines(depth: int) -> int:
        module = BERT.clone(depth=depth)

        def loss(variables, key):
            out = module.apply(variables, IDS, MASK, train=True, rngs={"dropout": key})
            return jnp.sum(out["pooled"])

        variables = random_variables(module, IDS, MASK)
        program = jax.jit(jax.grad(loss)).lower(variables, jax.random.key(0)).compile()
        return len(program.as_text().splitlines())

    two, four, eight = lines(2), lines(4), lines(8)
    assert eight - four < 2.5 * (four - two)


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    branch = jnp.ones((1000, 2, 3))
    rate = jnp.float32(0.25)
    dropped = DropPath().apply({}, branch, rate, train=True, rngs={"dropout": jax.random.key(0)})
    assert set(np.unique(dropped)) == {0.0, np.float32(1 / 0.75)}
    assert (np.asarray(dropped) == np.asarray(dropped)[:, :1, :1]).all()
    assert abs(float(dropped.mean()) - 1.0) < 0.05
    np.testing.assert_array_equal(DropPath().apply({}, branch, rate, train=False), branch)


def test_bfloat16_keeps_parameters_and_stays_near_float32():
    half = BERT.clone(dtype=jnp.bfloat16)
    shapes = meta.unbox(jax.eval_shape(half.init, jax.random.key(0), IDS, MASK))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(shapes)} == {"float32"}
    variables = random_variables(BERT, IDS, MASK)
    out = jax.jit(half.apply)(variables, IDS, MASK)["last_hidden_state"]
    assert out.dtype == jnp.bfloat16
    full = jax.jit(BERT.apply)(variables, IDS, MASK)["last_hidden_state"]
    assert_close(out.astype(jnp.float32), full, 0.05)


def test_bicubic_matrix():
    """Rows sum to one; doubling two pixels gives the weights of Keys' kernel at ±1/4 and ±3/4."""
    np.testing.assert_allclose(bicubic_matrix(14, 24).sum(axis=1), 1.0, rtol=1e-12)
    # At 1/4 from a pixel: w(1/4) = 0.87890625, w(3/4) = 0.26171875, w(5/4), w(7/4) negative.
    near, next_, far, farthest = 0.87890625, 0.26171875, -0.10546875, -0.03515625
    np.testing.assert_allclose(bicubic_matrix(2, 4)[1], [far + near, next_ + farthest], rtol=1e-12)
    table = jnp.arange(18.0).reshape(9, 2)
    np.testing.assert_array_equal(resize_positions(table, (3, 3)), table)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: vit_sizes("B"), "ViT variant 'B' has no patch size: write size/patch"),
        (lambda: vit_sizes("H/14"), "ViT variant 'H' is not one of XS, Ti, S, B, L"),
        (lambda: bert_sizes("huge"), "BERT variant 'huge' is not one of tiny"),
        (lambda: swin_sizes("H"), "Swin variant 'H' is not one of XS, XS-deep, T, S, B, L"),
        (
            lambda: resnet_sizes("26"),
            "ResNet variant '26' is not one of XS, small, 18, 34, 50",
        ),
        (lambda: BERT.clone(pooling="max"), "BERT pooling 'max' is not one of cls, mean"),
        (
            lambda: BERT.clone(pool_layers=(1, 3)),
            r"pool_layers \(1, 3\) are not all hidden states of its 2 blocks: name 0 to 2, or -1",
        ),
        (lambda: BERT.clone(pool_layers=(-4,)), r"pool_layers \(-4,\) are not all hidden states"),
        (lambda: IMAGE_ENCODERS["vit"].clone(pooling="last"), "ViT pooling 'last' is not one of"),
        (lambda: IMAGE_ENCODERS["swin"].clone(pooling="cls"), "Swin pooling 'cls' is not mean"),
        (lambda: IMAGE_ENCODERS["resnet"].clone(pooling="cls"), "ResNet pooling 'cls' is not"),
    ],
)
def test_wrong_choices_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
