"""Diffusion in four orthogonal parts: schedule, denoiser, sampler, guidance; and the likelihood."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
