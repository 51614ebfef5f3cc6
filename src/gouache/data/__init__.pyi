from ._dataset import Card as Card
from ._dataset import Dataset as Dataset
from ._digits import digits as digits
from ._load import load as load
