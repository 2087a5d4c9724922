"""A side of the comparison in a process of its own, so that neither sees the other's threads."""

import contextlib
import importlib
import multiprocessing
import os
import traceback
from typing import Any

from ml_collections import ConfigDict

from lumbarclip_jax.bench.compare.options import Options
from lumbarclip_jax.process import host_memory

SIDES = {
    "JAX": "lumbarclip_jax.bench.compare.jax_side:JaxSide",
    "PyTorch": "lumbarclip_jax.bench.compare.torch_side:TorchSide",
}
SAYABLE = (ValueError, OSError, ImportError)  # what one sentence explains


class Worker(contextlib.AbstractContextManager):
    """Calls the methods of an object there over a pipe: `worker("take", 0, 3)`."""

    def __init__(
        self,
        side: str,
        config: ConfigDict,
        options: Options,
        cache_dir: str,
        sides: dict[str, str] = SIDES,
    ):
        """Starts the process.

        Args:
          side: the name of the object's class among `sides`, module:class.
          cache_dir: of JAX's compiled programs.
        """
        self.side = side
        spawn = multiprocessing.get_context("spawn")
        self.pipe, theirs = spawn.Pipe()
        arguments = (theirs, sides[side], config.to_dict(), options, cache_dir)
        self.process = spawn.Process(target=serve, args=arguments, daemon=True)
        self.process.start()
        theirs.close()

    def __call__(self, method: str, *args) -> Any:
        """What the method returned.

        Raises:
          ValueError: the input is to blame.
          RuntimeError: anything else that ended the call, or the process.
        """
        try:
            self.pipe.send((method, args))
            status, value = self.pipe.recv()
        except (EOFError, OSError) as error:
            self.process.join()
            raise RuntimeError(
                f"the {self.side} process ended with status {self.process.exitcode} in {method!r}"
                + ("; out of memory? lower --batch_size" if self.process.exitcode == -9 else "")
            ) from error
        if status == "sayable":
            raise ValueError(value)
        if status == "failed":
            raise RuntimeError(f"the {self.side} process failed in {method!r}:\n{value}")
        return value

    def __exit__(self, *error) -> None:
        self.pipe.close()  # what the process waits for
        self.process.join(timeout=30)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def serve(pipe, side: str, config: dict, options: Options, cache_dir: str) -> None:
    """The life of the process: make the side, answer calls until the pipe is closed."""
    # Before the libraries start.
    os.environ |= {
        "JAX_PLATFORMS": options.device,
        "JAX_COMPILATION_CACHE_DIR": cache_dir,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        # Of the GPU's memory: the other side needs as much.
        "XLA_PYTHON_CLIENT_MEM_FRACTION": "0.45",
    }
    if options.dtype == "float32" and options.device != "cpu":
        # Float32 is meant as such, TF32 is not.
        os.environ["JAX_DEFAULT_MATMUL_PRECISION"] = "highest"
    host_memory.keep_freed()  # on CPU, for both sides
    target = None
    with contextlib.suppress(EOFError):
        while True:
            method, args = pipe.recv()
            try:
                if target is None:
                    module, name = side.split(":")
                    target = getattr(importlib.import_module(module), name)(
                        ConfigDict(config), options
                    )
                pipe.send(("returned", getattr(target, method)(*args)))
            except SAYABLE as error:
                pipe.send(("sayable", str(error)))
            except Exception:
                pipe.send(("failed", traceback.format_exc()))
