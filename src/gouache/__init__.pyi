from . import check as check
from . import contracts as contracts
from . import data as data
from . import diffuse as diffuse
from . import features as features
from . import generate as generate
from . import image as image
from . import measure as measure
from . import nets as nets
from . import patches as patches
from . import pretrained as pretrained
from . import random as random
from . import recipes as recipes
from . import registry as registry
from . import report as report
from . import restore as restore
from . import samples as samples
from . import train as train
from . import weights as weights
from .weights import load as load

__version__: str
