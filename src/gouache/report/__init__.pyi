from ._chapter import Chapter as Chapter
from ._gather import Pair as Pair
from ._gather import Report as Report
from ._gather import Row as Row
from ._gather import gather as gather
from ._render import render as render
from ._write import write as write
