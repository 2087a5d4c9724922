"""Reading: from a data set folder to batches of numpy arrays. No JAX here, so that reader threads
and processes never touch a device."""
