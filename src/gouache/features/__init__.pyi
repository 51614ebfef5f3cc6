from ._digits_net import DigitsNet as DigitsNet
from ._digits_net import DigitsNetConfig as DigitsNetConfig
from ._filters import RandomFilters as RandomFilters
from ._inception import Inception as Inception
from ._load import load as load
from ._load import names as names
from ._pca import PCA as PCA
from ._pixels import Pixels as Pixels
