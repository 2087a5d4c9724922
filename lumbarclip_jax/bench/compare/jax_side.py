"""The JAX side: the train step of this package, as `lumbarclip_jax.main` runs it."""

import gc
import pathlib
import time
from importlib import metadata

import jax
import numpy as np
from ml_collections import ConfigDict

from lumbarclip_jax import sharding
from lumbarclip_jax.bench.compare import memory
from lumbarclip_jax.bench.compare.options import Options, batches
from lumbarclip_jax.export import huggingface
from lumbarclip_jax.models import build_model, unstack_layers
from lumbarclip_jax.models.pretrained import key_tables
from lumbarclip_jax.run_folder import weights_file
from lumbarclip_jax.training import optim, train_step

PACKAGES = ("jax", "jaxlib", "flax", "optax")


class JaxSide:
    """Answers the calls of `pair.compare`."""

    def __init__(self, config: ConfigDict, options: Options):
        self.config, self.options = config, options
        try:
            devices = jax.devices()
        except (RuntimeError, AssertionError) as error:  # JAX asserts that there is a backend
            raise ValueError(
                f"--device={options.device}: JAX sees none; install its CUDA build, "
                "pip install 'lumbarclip_jax[cuda13]'"
            ) from error
        self.mesh = sharding.make_mesh(devices=devices[:1])
        self.model = build_model(config.model, options.vocab_size, train_step.compute_dtype(config))
        if not options.is_random:
            bert = self.model.text_encoder.clone(dropout=0.0, attention_dropout=0.0)
            self.model = self.model.clone(text_encoder=bert)
        self.key = jax.random.key(config.seed)

    def create(self, folder: pathlib.Path) -> None:
        """Makes the initial state and writes its weights for the other side."""
        self.state, _ = train_step.create_train_state(self.model, self.config, self.mesh)
        self.export(folder)

    def export(self, folder: pathlib.Path) -> None:
        """Writes the weights to an empty folder, as the baseline reads them."""
        host = jax.device_get({"params": self.state.params, "stats": self.state.batch_stats})
        params = unstack_layers(host["params"])
        for name in ("image_encoder", "text_encoder"):
            variables = {"params": params.pop(name), "batch_stats": host["stats"].get(name, {})}
            (folder / name).mkdir()
            huggingface.write_encoder(
                folder / name,
                getattr(self.model, name),
                variables,
                self.config.data.image_size_px,
            )
        heads, _ = key_tables.to_published({"params": params}, huggingface.PROJECTIONS.rules)
        weights_file.save_tensors(folder / "projections.safetensors", heads)

    def compile(self) -> dict[str, float]:
        """Seconds to trace and to compile the step, or to find it in the cache."""
        abstract, optimizer = train_step.abstract_train_state(self.model, self.config, self.mesh)
        step = train_step.make_train_step(self.model, optimizer, self.config, self.mesh)
        gc.freeze()  # as before the first step of a run
        begin = time.perf_counter()
        zero = np.float32(0)
        lowered = step.lower(abstract, self._placed(0, 1)[0], zero, self.key, zero)
        traced = time.perf_counter()
        self.step = lowered.compile()
        return {"trace_s": traced - begin, "compile_s": time.perf_counter() - traced}

    def take(self, first: int, count: int) -> tuple[float, list[float]]:
        """Seconds of steps `first` to `first + count`, inputs already on the device; losses."""
        placed = self._placed(first, count)
        total = self.config.total_steps
        rates = [
            map(np.float32, (optim.learning_rate(self.config.optim, step, total), step / total))
            for step in range(first, first + count)
        ]
        losses = []
        begin = time.perf_counter()
        for batch, (rate, progress) in zip(placed, rates, strict=True):
            self.state, metrics = self.step(self.state, batch, rate, self.key, progress)
            losses.append(metrics["loss"])
        jax.block_until_ready(self.state)
        return time.perf_counter() - begin, [float(loss) for loss in losses]

    def reset_peak(self) -> None:
        memory.reset_peak()

    def peak_bytes(self) -> int:
        """Of the device, and on CPU of the process."""
        if self.options.device == "cpu":
            return memory.peak_bytes()
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]

    def versions(self) -> dict[str, str]:
        return {name: metadata.version(name) for name in PACKAGES}

    def _placed(self, first: int, count: int) -> list[dict[str, jax.Array]]:
        made = batches(self.config, self.options, first, count)
        return jax.block_until_ready([sharding.shard_batch(batch, self.mesh) for batch in made])
