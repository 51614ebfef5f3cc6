from ._load import card as card
from ._load import load as load
from ._load import locate as locate
from ._load import names as names
