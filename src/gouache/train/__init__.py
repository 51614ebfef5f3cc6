"""The training loop, its state, checkpoints and logs: the only place that knows of devices."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
