from ._bm3d import bm3d as bm3d
from ._nlmeans import nlmeans as nlmeans
from ._noise import estimate_sigma as estimate_sigma
