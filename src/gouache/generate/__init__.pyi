from ._diffusion import Diffusion as Diffusion
from ._diffusion import DiffusionConfig as DiffusionConfig
from ._local_score import LocalScore as LocalScore
