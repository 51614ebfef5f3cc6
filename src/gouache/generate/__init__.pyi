from ._diffusion import Diffusion as Diffusion
from ._diffusion import DiffusionConfig as DiffusionConfig
from ._image_transformer import ImageTransformer as ImageTransformer
from ._image_transformer import ImageTransformerConfig as ImageTransformerConfig
from ._local_score import LocalScore as LocalScore
