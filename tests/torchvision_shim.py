"""Imports timm and open_clip without torchvision, whose builds fit one torch version each.

Both take transforms, data sets and a frozen batch norm from torchvision at import; a model without
them never touches what stands in here.
"""

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import sys
import types
import warnings


class Anything(type):
    """Metaclass of the placeholders: every attribute of a class is one more placeholder."""

    def __getattr__(cls, name: str) -> "Anything":
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


class Placeholder(types.ModuleType):
    __path__ = ()

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return Anything(name, (), {})


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `torchvision` and everything in it."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec):
        return Placeholder(spec.name)

    def exec_module(self, module):
        pass


def import_module(name: str) -> types.ModuleType:
    """The module `name`, imported while torchvision is a placeholder.

    Raises:
      ImportError: it, or another package it needs, is not installed.
    """
    with contextlib.suppress(ImportError):
        # transformers looks once and remembers: let it look before the placeholders are there.
        from transformers.utils import is_torchvision_available

        is_torchvision_available()
    finder = Finder()
    sys.meta_path.insert(0, finder)
    real = {key: sys.modules.pop(key) for key in list(sys.modules) if is_torchvision(key)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module(name)
    finally:
        # What is imported later must not take the placeholders for the real package.
        sys.meta_path.remove(finder)
        for key in list(sys.modules):
            if is_torchvision(key):
                del sys.modules[key]
        sys.modules.update(real)


def is_torchvision(name: str) -> bool:
    return name.split(".")[0] == "torchvision"
