"""Whole runs: a recipe is a function that returns a plan, and a run is a folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
