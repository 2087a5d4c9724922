"""Who converts the shards: a pool of processes here, or the engine of an archive."""

import importlib.util
import shlex
from collections.abc import Callable, Sequence

from data_prep.process.parallel import ordered_map

RUNNERS = ("local", "beam")


def run(
    function: Callable, tasks: Sequence, *, runner: str, workers: int, beam_options: str = ""
) -> None:
    """Calls ``function(task)`` for every task, in any order and anywhere.

    Args:
      function: importable by name, so that other computers find it.
      tasks: picklable.
      runner: "local" or "beam".
      workers: processes of "local".
      beam_options: flags of Apache Beam, such as ``--runner=FlinkRunner --parallelism=64``.

    Raises:
      ValueError: Beam is asked for and not installed, or does not take its options.
    """
    if runner == "local":
        for _ in ordered_map(function, tasks, workers=workers, label="writing shards"):
            pass
    else:
        _run_beam(function, tasks, beam_options)


def _run_beam(function: Callable, tasks: Sequence, options: str) -> None:
    if importlib.util.find_spec("apache_beam") is None:
        raise ValueError(
            "--runner=beam needs Apache Beam: pip install 'lumbarclip_jax[beam]', or leave it out"
        )
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions

    # Elements are names of shards, never their images: nothing is shuffled but these.
    with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
        _ = pipeline | beam.Create(tasks) | beam.Reshuffle() | beam.Map(function)
