from ._frechet import frechet as frechet
from ._frechet import frechet_from_moments as frechet_from_moments
from ._frechet import moments as moments
from ._kernel import kernel as kernel
from ._neighbours import nearest as nearest
from ._score import Score as Score
from ._score import table as table
