"""Offline data preparation: a folder of studies and a table of reports in, a data set out.

Nothing here imports JAX; every worker process is started with ``spawn``.
"""

import lumbarclip_jax  # noqa: F401, its first import handles signals while all others load
