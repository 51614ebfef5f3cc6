from ._diffusion import Diffusion as Diffusion
from ._diffusion import DiffusionConfig as DiffusionConfig
