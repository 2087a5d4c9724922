"""The train step beside that of the PyTorch baseline, each in a process of its own."""
