"""The PyTorch side: the baseline's trainer."""

import ctypes
import os
import pathlib
import time

from ml_collections import ConfigDict

from lumbarclip_jax.bench.compare import memory
from lumbarclip_jax.bench.compare.baseline import Trainer, torch, transformers
from lumbarclip_jax.bench.compare.options import Options, batches


class TorchSide:
    """Answers the calls of `pair.compare`."""

    def __init__(self, config: ConfigDict, options: Options):
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("--device=cuda: PyTorch sees no GPU; install its CUDA build")
        # All cores, as JAX takes them.
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        torch.manual_seed(options.seed)
        transformers.logging.disable_progress_bar()
        self.config, self.options = config, options

    def create(self, folder: pathlib.Path) -> None:
        """Loads what the JAX side wrote."""
        mode = self.options.torch_compile
        self.trainer = Trainer(
            folder,
            self.config,
            device=self.options.device,
            dtype=getattr(torch, self.options.dtype),
            compile_mode=None if mode == "off" else mode,
        )

    def take(self, first: int, count: int) -> tuple[float, list[float]]:
        """Seconds of steps `first` to `first + count`, inputs already on the device; losses."""
        made = batches(self.config, self.options, first, count)
        placed = [self.trainer.place(batch) for batch in made]
        self._wait()
        begin = time.perf_counter()
        losses = [self.trainer.step(batch) for batch in placed]
        self._wait()
        return time.perf_counter() - begin, [float(loss) for loss in losses]

    def reset_peak(self) -> None:
        memory.reset_peak()

    def peak_bytes(self) -> int:
        """Of the device, and on CPU of the process."""
        if self.options.device == "cpu":
            return memory.peak_bytes()
        return torch.cuda.max_memory_allocated()

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__, "transformers": transformers.__version__}

    def accelerator(self) -> str:
        return torch.cuda.get_device_name() if self.options.device == "cuda" else ""

    def matrix_library(self) -> str:
        """On CPU, which of its kernels MKL takes: it asks this function about the processor."""
        if self.options.device == "cuda" or not torch.backends.mkl.is_available():
            return ""
        question = "mkl_serv_intel_cpu_true"
        preloaded, own = ctypes.CDLL(None), ctypes.CDLL(torch._C.__file__)
        answering = preloaded if hasattr(preloaded, question) else own
        return "MKL for Intel" if getattr(answering, question)() else "MKL for others"

    def _wait(self) -> None:
        if self.options.device == "cuda":
            torch.cuda.synchronize()
