"""What the train step costs: compiled ahead of time for TPU slices, on a machine without a TPU."""
