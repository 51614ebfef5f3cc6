"""How good and how honest generated images are: each score with its uncertainty and its floor."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
