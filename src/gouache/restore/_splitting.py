"""Half-quadratic splitting: solve and denoise in turn, at falling levels of noise.

Notation: ``y = A x + sigma n`` the observation, ``s_k`` the levels at which the image is denoised,
``rho_k = weight sigma^2 / s_k^2`` how near the solution is kept to what was denoised.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Denoiser, Operator
from gouache.patches._image import like

from ._least_squares import nearest
from ._problem import Counter, Problem, Progress, problems
from ._tikhonov import smooth


class Schedule(NamedTuple):
    """At which levels an image is denoised, and how near the solution is kept to it.

    Attributes:
        steps: how many levels.
        first: s_1.
        last: the last level; None is sigma.
        weight: of the denoised image.
    """

    steps: int
    first: float
    last: float | None
    weight: float


def restored(
    observed: Tensor,
    operator: Operator,
    sigma: float | Tensor | None,
    denoiser: Denoiser,
    schedule: Schedule,
    progress: Progress | None,
    *,
    solved: bool = False,
) -> Tensor:
    """Restore every image of a batch by splitting, beginning with :func:`tikhonov`'s.

    Args:
        observed: as the user gave it, like operator, sigma and progress.
        operator: A.
        sigma: the noise.
        denoiser: D.
        schedule: the levels.
        progress: called with (steps done, steps in all), over all images.
        solved: see ``split``.
    """
    check.between(schedule.weight, "weight", 1e-9)
    check.sigma(schedule.first, "first")
    given = problems(observed, operator, sigma)
    done, found = Counter(schedule.steps * len(given), progress), []
    for problem in given:
        last = problem.sigma if schedule.last is None else check.sigma(schedule.last, "last")
        at, start = levels(schedule.first, last, schedule.steps), smooth(problem, operator)
        found.append(
            split(problem, operator, denoiser, start, at, schedule.weight, done, solved=solved)
        )
    return like(torch.stack(found), observed)


def levels(first: float, last: float, steps: int) -> list[float]:
    """Return the levels s_k, evenly spaced in their logarithm, falling from first to last.

    A single one is the last.
    """
    check.count(steps, "steps")
    top = math.log(max(first, last))
    return torch.linspace(math.log(last), top, steps, dtype=torch.float64).exp().flip(0).tolist()


def split(
    problem: Problem,
    operator: Operator,
    denoiser: Denoiser,
    start: Tensor,
    schedule: Sequence[float],
    weight: float,
    done: Callable[[], None],
    *,
    solved: bool = False,
) -> Tensor:
    """Solve and denoise in turn, each beginning with what the other returned.

    To solve is ``x_k = argmin |A x - y|^2 + rho_k |x - z|^2``, z being the last denoised image, to
    denoise is ``D(x, s_k)``.

    Args:
        problem: y and sigma.
        operator: A.
        denoiser: D.
        start: what the first step begins with.
        schedule: s_1, s_2, ...
        weight: of the denoised image.
        done: called after each step.
        solved: whether a step ends with the solution; else it ends with the denoised image.
    """
    found, u = start, None
    for s in schedule:
        if solved:
            found = denoiser(found[None], s)[0]
        rho = weight * problem.sigma**2 / s**2
        found, u = nearest(operator, problem.y, found, rho, start=u)
        if not solved:
            found = denoiser(found[None], s)[0]
        done()
    return found
