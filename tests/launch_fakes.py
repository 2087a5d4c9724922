"""A PATH of stand-ins that write down how they were called, and a way to run scripts with it."""

import os
import pathlib
import signal
import subprocess
import time

RECORD = """#!/bin/bash
{ printf '%s\\n' "${0##*/}" "$@"; echo; } >> "$STATE/calls"
"""
# Training: waits for a signal when told to, then ends as told.
PYTHON = """
printf '%s\\n' "mem=${XLA_PYTHON_CLIENT_MEM_FRACTION:-}" "cache=${JAX_COMPILATION_CACHE_DIR:-}" \\
    "gpus=${JAX_LOCAL_DEVICE_IDS:-}" "cpus=${SRUN_CPUS_PER_TASK:-}" > "$STATE/environment"
if [ -n "${UNTIL_SIGNAL:-}" ]; then
    trap 'stop=1' TERM
    echo $BASHPID > "$STATE/started"
    until [ -n "${stop:-}" ]; do sleep 0.02; done
fi
[ -z "${FINISHES:-}" ] || touch "$WORKDIR/metrics.json"
exit "${STATUS:-0}"
"""
# Like the real one: a signal to srun itself kills its tasks.
SRUN = """
"$@" & task=$!
trap 'kill -KILL $task; exit 137' TERM
wait $task
"""
SCANCEL = """
kill -TERM "$(cat "$STATE/started")"
"""
# Runs the command of `ssh` in the folder that plays the home folder of the host.
GCLOUD = """
for word; do
    case "$word" in
    --command=*lumbarclip_jax.main*) cd "$STATE" && bash -c "${word#--command=}" ;;
    esac
done
"""
STAND_INS = {
    "python": PYTHON,
    "srun": SRUN,
    "scancel": SCANCEL,
    "scontrol": "",
    "gcloud": GCLOUD,
    "git": "",
}


class Fakes:
    """Runs shell commands that find the stand-ins first.

    Args:
      folder: an empty folder; becomes the home folder, and holds what the stand-ins write.
    """

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        (folder / "bin").mkdir()
        for name, body in STAND_INS.items():
            (folder / "bin" / name).write_text(RECORD + body)
            (folder / "bin" / name).chmod(0o755)
        (folder / "lumbarclip_jax" / ".venv" / "bin").mkdir(parents=True)
        (folder / "lumbarclip_jax" / ".venv" / "bin" / "activate").touch()
        self.base = {
            "PATH": f"{folder / 'bin'}:{os.defpath}:/usr/bin:/bin",
            "HOME": str(folder),
            "STATE": str(folder),
        }

    def run(self, command: list[str], **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            command, env=self.base | environment, capture_output=True, text=True, timeout=30
        )

    def run_and_terminate(self, command: list[str], **environment: str) -> int:
        """Starts `command`, sends it SIGTERM once training runs, and returns its status."""
        environment = self.base | environment | {"UNTIL_SIGNAL": "1"}
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not (self.folder / "started").is_file() and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        return process.wait(timeout=30)

    def calls(self) -> list[list[str]]:
        """Every call so far as [name, argument, ...], oldest first; forgets them."""
        path = self.folder / "calls"
        text = path.read_text() if path.is_file() else ""
        path.unlink(missing_ok=True)
        return [call.split("\n") for call in text.split("\n\n") if call]

    def environment(self) -> dict[str, str]:
        """What the launcher set for training."""
        lines = (self.folder / "environment").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)
