#!/usr/bin/env bash
# One process that sees all GPUs of this machine.
#
#   CONFIG=configs/vit_linear.py WORKDIR=runs/x launch/local_gpu.sh [--config.optim.lr=3e-4 ...]
#
# DRY_RUN=1 prints what would run, CUDA_VISIBLE_DEVICES=0,1 takes fewer GPUs.
set -euo pipefail

fail() { echo "error: $1" >&2; exit 2; }
quoted() { local words; printf -v words '%q ' "$@"; echo "${words% }"; }
# exec: a signal sent to this script reaches Python, which saves and stops.
run() { if [ -n "${DRY_RUN:-}" ]; then quoted "$@"; else exec "$@"; fi; }

[ -n "${CONFIG:-}" ] || fail "set CONFIG to the run file, e.g. CONFIG=configs/vit_linear.py"
[ -n "${WORKDIR:-}" ] || fail "set WORKDIR to the folder of this run, e.g. WORKDIR=runs/vit_linear"

run env \
    XLA_PYTHON_CLIENT_MEM_FRACTION="${XLA_PYTHON_CLIENT_MEM_FRACTION:-0.9}" \
    JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$HOME/.cache/lumbarclip_jax/xla}" \
    python -m lumbarclip_jax.main --config="$CONFIG" --workdir="$WORKDIR" "$@"
