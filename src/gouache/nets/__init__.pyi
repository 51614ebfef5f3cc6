from ._attention import SelfAttention as SelfAttention
from ._embeddings import ConditionEmbedding as ConditionEmbedding
from ._embeddings import fourier as fourier
from ._norm import GroupNorm as GroupNorm
from ._resnet import ResBlock as ResBlock
from ._unet import UNet as UNet
