from ._diffusion import diffusion as diffusion
from ._diffusion import digits_diffusion as digits_diffusion
from ._digits_features import digits_features as digits_features
from ._epll_prior import epll_prior as epll_prior
from ._plan import Plan as Plan
from ._run import load_plan as load_plan
from ._run import read_run as read_run
from ._run import run as run
