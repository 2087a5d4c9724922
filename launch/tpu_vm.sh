#!/usr/bin/env bash
# A Cloud TPU slice, one process on each of its hosts.
#
#   export TPU_NAME=lumbar TPU_ZONE=us-west4-a
#   TPU_TYPE=v5litepod-16 TPU_VERSION=v2-alpha-tpuv5-lite launch/tpu_vm.sh create [--spot ...]
#   launch/tpu_vm.sh setup
#   CONFIG=configs/vit_linear.py WORKDIR=/mnt/shared/runs/x launch/tpu_vm.sh run [--config... ...]
#   launch/tpu_vm.sh delete
#
# DRY_RUN=1 prints the commands instead.
set -euo pipefail

fail() { echo "error: $1" >&2; exit 2; }
need() { [ -n "${!1:-}" ] || fail "set $1 to $2"; }
quoted() { local words; printf -v words '%q ' "$@"; echo "${words% }"; }
run() { if [ -n "${DRY_RUN:-}" ]; then quoted "$@"; else "$@"; fi; }
on_all_hosts() {
    run gcloud compute tpus tpu-vm ssh "$TPU_NAME" --zone="$TPU_ZONE" --worker=all --command="$1"
}

action=${1:-}
case "$action" in
create | setup | run | delete) shift ;;
*) fail "say what to do: launch/tpu_vm.sh create, setup, run or delete" ;;
esac
need TPU_NAME "the name of the TPU VM, e.g. TPU_NAME=lumbar"
need TPU_ZONE "its zone, e.g. TPU_ZONE=us-west4-a"

if [ "$action" = create ]; then
    need TPU_TYPE "the accelerator type, e.g. TPU_TYPE=v5litepod-16"
    need TPU_VERSION "the runtime version of that type, e.g. TPU_VERSION=v2-alpha-tpuv5-lite"
    run gcloud compute tpus tpu-vm create "$TPU_NAME" --zone="$TPU_ZONE" \
        --accelerator-type="$TPU_TYPE" --version="$TPU_VERSION" "$@"
elif [ "$action" = setup ]; then
    archive=${TMPDIR:-/tmp}/lumbarclip_jax.tar.gz
    run git archive --format=tar.gz --prefix=lumbarclip_jax/ --output="$archive" HEAD
    run gcloud compute tpus tpu-vm scp "$archive" "$TPU_NAME:lumbarclip_jax.tar.gz" \
        --zone="$TPU_ZONE" --worker=all
    # The Python of the TPU images can be older than 3.11; uv brings one.
    on_all_hosts "tar -xzf lumbarclip_jax.tar.gz && cd lumbarclip_jax && \
PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --user uv && \
python3 -m uv venv --clear --python 3.11 .venv && python3 -m uv pip install '.[tpu]'"
elif [ "$action" = run ]; then
    need CONFIG "the run file, e.g. CONFIG=configs/vit_linear.py"
    need WORKDIR "a folder that all hosts share, e.g. WORKDIR=/mnt/shared/runs/vit_linear"
    case "$WORKDIR" in *://*) fail "WORKDIR=$WORKDIR is an address: mount it, and give the folder" ;; esac
    cache=${JAX_COMPILATION_CACHE_DIR:-.cache/xla}
    # A shell on the host splits the command again: every word is quoted for it.
    on_all_hosts "cd lumbarclip_jax && . .venv/bin/activate && $(quoted \
    env JAX_COMPILATION_CACHE_DIR="$cache" \
    python -m lumbarclip_jax.main --config="$CONFIG" --workdir="$WORKDIR" --distributed "$@")"
else
    run gcloud compute tpus tpu-vm delete "$TPU_NAME" --zone="$TPU_ZONE" "$@"
fi
