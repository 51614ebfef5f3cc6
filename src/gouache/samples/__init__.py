"""Samples of a trained model: opened by one word, drawn class by class, written as a folder."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
