"""Offline data preparation: a folder of studies and a table of reports in, a data set out.

Nothing here imports JAX; every worker process is started with ``spawn``.
"""

from data_prep.process import signals

signals.end_commands_at_once()
