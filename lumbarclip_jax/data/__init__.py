"""From a data set folder to batches of numpy arrays, and the tasks that its labels pose.

No JAX here, so that reader threads and processes never touch a device.
"""
