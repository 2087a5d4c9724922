"""Ahead-of-time figures: arithmetic, what the text of a program says, the roofline."""

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from jax.sharding import NamedSharding

from configs import resnet_linear, swin_linear, vit_linear
from lumbarclip_jax import sharding
from lumbarclip_jax.bench.chips import chip_of
from lumbarclip_jax.bench.flops import image_forward, step_flops, text_forward
from lumbarclip_jax.bench.hlo import Collective, Program, array_bytes, memory_bytes
from lumbarclip_jax.bench.roofline import roofline
from lumbarclip_jax.objectives.objective import Objective


@pytest.mark.parametrize(
    ("run_file", "variant", "gmacs"),
    [
        # Profiles by timm and open_clip of the same models: 17.58, 4.41, 4.51, 15.47 and 4.11
        # GMAC with the operations that are not counted here.
        (vit_linear, "B/16", 17.56),
        (vit_linear, "B/32", 4.41),
        (vit_linear, "S/16", 4.60),
        (swin_linear, "T", 4.49),
        (swin_linear, "B", 15.43),
        (resnet_linear, "50", 4.09),
    ],
)
def test_image_encoders_cost_what_is_published(run_file, variant, gmacs):
    encoder = run_file.get_config().model.image_encoder
    encoder.variant = variant
    assert image_forward(encoder, 224, channels=3).total / 2e9 == pytest.approx(gmacs, abs=0.005)


@pytest.mark.parametrize(
    ("tokens", "gmacs"), [(32, 2.74), (64, 5.51), (77, 6.65), (128, 11.17), (256, 22.95)]
)
def test_bert_costs_what_is_published(tokens, gmacs):
    encoder = vit_linear.get_config().model.text_encoder
    assert text_forward(encoder, tokens).total / 2e9 == pytest.approx(gmacs, abs=0.005)


def test_a_step_counts_the_model_apart_from_what_is_done_twice():
    config = vit_linear.get_config()
    plain = step_flops(config, 64, channels=3)
    # 105.4 GFLOP of ViT-B/16, 67.0 of BERT-base on 128 tokens, and two heads of 768 x 512.
    assert plain.model / 64 == pytest.approx(172.4e9, rel=1e-3)
    assert (plain.remat, plain.accumulation) == (0, 0)
    config.model.feature_dim, config.model.projection.kind = 96, "relu"
    config.model.projection.text_kind = "linear"
    reduced = step_flops(config, 1, channels=3)
    heads = 2 * 768 * 96 + (96 * 96 + 96 * 512) + 96 * 512
    assert reduced.model - plain.model / 64 == 3 * 2 * (heads - 2 * 768 * 512)
    config = vit_linear.get_config()
    config.model.remat = True
    config.optim.accumulation_steps = 4
    twice = step_flops(config, 64, channels=3)
    assert twice.model == plain.model
    assert twice.accumulation == pytest.approx(plain.model / 3)
    # All of the forward pass but the patch embedding and the heads.
    assert twice.remat == pytest.approx(plain.model / 3 - 64 * (2 * 196 * 768**2 + 4 * 768 * 512))
    assert twice.on_the_matrix_unit == pytest.approx(
        twice.model + twice.remat + twice.accumulation + 6 * twice.loss
    )


@pytest.mark.parametrize(
    ("fields", "units"),
    [
        ({}, 20),
        ({"targets": "transposed"}, 24),
        ({"detach_targets": False}, 24),
        ({"hard_weight": 1.0}, 12),
        ({"weight": 0.0}, 12 + 10),
    ],
)
def test_the_loss_costs_its_similarities(fields, units):
    config = vit_linear.get_config().objective
    config.soft_clip.update(fields)
    if not config.soft_clip.weight:
        config.clip.weight = config.siglip.weight = 0.5
    assert Objective(config).flops(1000, 512) == units * 1000**2 * 512


def test_shapes_of_all_types_and_memories():
    assert array_bytes("bf16[12,64,768]{2,1,0:T(8,128)(2,1)}") == 12 * 64 * 768 * 2
    assert array_bytes("(f32[8]{0}, /*index=1*/pred[3], u8[], s4[6], f8e4m3fn[5], token[])") == 44
    assert memory_bytes("(f32[8]{0:T(256)S(1)}, f32[2]{0:T(256)})") == 8


LOOPS = """\
HloModule step, is_scheduled=true

%sum (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%body (p: (s32[], f32[4,8], f32[12,4,8])) -> (s32[], f32[4,8], f32[12,4,8]) {
  %p = (s32[]{:T(128)}, f32[4,8]{1,0}, f32[12,4,8]{2,1,0}) parameter(0)
  %i = s32[]{:T(128)} get-tuple-element(%p), index=0
  %x = f32[4,8]{1,0:T(4,128)} get-tuple-element(%p), index=1
  %kept = f32[12,4,8]{2,1,0} get-tuple-element(%p), index=2
  %grad = (bf16[768]{0}, /*index=1*/bf16[4,8]{1,0:T(8,128)(2,1)S(1)}) all-reduce(%x, %x), \
replica_groups=mesh['axis_0'=4,'axis_1'=2] {'axis_0','axis_1'}, to_apply=%sum
  %one = f32[1,4,8]{2,1,0} bitcast(%x)
  %next = f32[12,4,8]{2,1,0} dynamic-update-slice(%kept, %one, %i, %i, %i)
  ROOT %out = (s32[], f32[4,8], f32[12,4,8]) tuple(%i, %x, %next)
}

%condition (p.1: (s32[], f32[4,8], f32[12,4,8])) -> pred[] {
  %p.1 = (s32[]{:T(128)}, f32[4,8]{1,0}, f32[12,4,8]{2,1,0}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  %limit = s32[]{:T(128)} constant(12)
  ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

%fused (q: f32[4,8]) -> f32[4,8] {
  %q = f32[4,8]{1,0} parameter(0)
  %half = f32[4,8]{1,0} add(%q, %q)
  ROOT %double = f32[4,8]{1,0} add(%half, %half)
}

ENTRY %main (arg: f32[4,8]) -> f32[4,8] {
  %arg = f32[4,8]{1,0} parameter(0)
  %fusion = f32[4,8]{1,0:T(4,128)S(1)} fusion(%arg), kind=kLoop, calls=%fused
  %gather-start = (f32[4,8]{1,0}, f32[32,8]{1,0}) all-gather-start(%arg), \
replica_groups={{0,1,2,3,4,5,6,7}}, dimensions={0}
  %gather = f32[32,8]{1,0} all-gather-done(%gather-start)
  %init = (s32[], f32[4,8], f32[12,4,8]) tuple(%arg, %arg, %arg)
  %loop = (s32[], f32[4,8], f32[12,4,8]) while(%init), condition=%condition, body=%body
  ROOT %result = f32[4,8]{1,0} get-tuple-element(%loop), index=1
}
"""


def test_text_of_a_loop_counts_every_turn():
    program = Program(LOOPS)
    reduced = 12 * (768 * 2 + 32 * 2)
    assert program.collectives() == {
        "all-gather": Collective(1, 32 * 8 * 4, 7 * 32 * 4),
        "all-reduce": Collective(12, reduced, reduced * 2 * 7 // 8),
    }
    assert program.loops_of_unknown_length == 0


def test_writes_count_turns_and_slices_but_not_the_vector_memory():
    # The gathered rows once; in each turn the first reduced array and the slice that changes.
    assert Program(LOOPS).written_bytes() == 32 * 8 * 4 + 12 * (768 * 2 + 4 * 8 * 4)
    # The slice belongs to an array of 1536 bytes, the reduced array has 1536 too.
    assert Program(LOOPS).written_bytes(larger_than_bytes=1024) == 12 * (768 * 2 + 4 * 8 * 4)
    assert Program(LOOPS).written_bytes(larger_than_bytes=1536) == 0


def test_a_loop_whose_end_is_not_in_the_text_is_reported():
    program = Program(LOOPS.replace("constant(12)", "parameter(1)"))
    assert program.loops_of_unknown_length == 1
    assert program.collectives()["all-reduce"].count == 1


def test_text_without_a_program_is_refused():
    with pytest.raises(ValueError, match="no ENTRY"):
        Program("HloModule nothing")


def test_collectives_of_a_program_that_xla_compiled():
    mesh = sharding.make_mesh(1)
    axes = mesh.axis_names
    turn = [(device, (device + 1) % 8) for device in range(8)]

    def local(x):
        gathered = lax.all_gather(x, axes, tiled=True)
        passed = lax.fori_loop(0, 5, lambda _, c: 1.5 * lax.ppermute(c, axes, turn), x)
        total = lax.psum(jnp.sum(gathered) + jnp.sum(passed), axes)
        return passed * total + lax.psum_scatter(gathered, axes, tiled=True)

    step = jax.shard_map(
        local, mesh=mesh, in_specs=sharding.BATCH, out_specs=sharding.BATCH, check_vma=False
    )
    rows = NamedSharding(mesh, sharding.BATCH)
    x = jax.ShapeDtypeStruct((64, 16), jnp.float32, sharding=rows)
    program = Program(jax.jit(step).lower(x).compile().as_text())
    a_chip = 8 * 16 * 4
    assert program.collectives() == {
        "all-gather": Collective(1, 8 * a_chip, 7 * a_chip),
        "all-reduce": Collective(1, 4, 7),
        "collective-permute": Collective(5, 5 * a_chip, 5 * a_chip),
        "reduce-scatter": Collective(1, a_chip, 7 * a_chip),
    }
    assert program.loops_of_unknown_length == 0


def test_the_roofline_is_the_slowest_of_three():
    roof = roofline(chip_of("v5e:4x4"), 16, 16 * 197e12, 819e9 / 2, 200e9 * 3)
    assert (roof.compute_s, roof.hbm_s, roof.ici_s) == (1.0, 0.5, 3.0)
    assert (roof.step_s, roof.limit) == (3.0, "ici")


@pytest.mark.parametrize("topology", ["h300:8", "v5e", "h200", ""])
def test_a_topology_without_a_known_chip_is_refused(topology):
    with pytest.raises(ValueError, match="write v5e:4x4 or h200:8"):
        chip_of(topology)
