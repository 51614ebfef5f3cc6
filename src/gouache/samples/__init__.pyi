from ._samples import Samples as Samples
from ._samples import condition as condition
from ._samples import draw as draw
from ._samples import open_model as open_model
from ._samples import write_samples as write_samples
