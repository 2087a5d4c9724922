"""A side of the comparison that fails in every way a side can; without JAX or PyTorch."""

import os


class FakeSide:
    def __init__(self, config, options):
        self.config, self.options = config, options

    def add(self, left, right):
        return self.config.name, self.options.seed + left + right

    def environment(self, name):
        return os.environ.get(name)

    def explain(self):
        raise ImportError("the extra is not installed")

    def crash(self):
        raise KeyError("a bug")

    def vanish(self):
        os._exit(3)
