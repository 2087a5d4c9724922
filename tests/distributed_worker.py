"""`python -m lumbarclip_jax.main`, which can send itself a signal: SIGNAL_AT="15,3" in step 3."""

import os

from lumbarclip_jax import loop, main
from lumbarclip_jax.process import cli

number, signal_step = map(int, os.environ["SIGNAL_AT"].split(","))


class SignallingProgress(loop.Progress):
    def update(self, step, loss):
        # Read by the test; only process 0 logs its steps.
        print(f"took step {step}", flush=True)
        if step == signal_step:
            os.kill(os.getpid(), number)
        return super().update(step, loss)


loop.Progress = SignallingProgress
cli.run(main.main)
