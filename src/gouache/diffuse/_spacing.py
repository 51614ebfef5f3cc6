"""Where a grid puts its noise levels: functions ``spacing(schedule, points) -> ratios``.

Notation: ``r = sigma / alpha`` is the noise-to-signal ratio, the sigma that a denoiser sees. Every
function returns ``points`` ratios, float64, falling from noise to data, all positive; the grid
appends 0. The first three place *times*: on a schedule with a table of T steps they are the
integers i of the discrete model (t = i / (T - 1)), on a continuous one T is infinite. The last two
place *ratios* and do not look at the schedule's time at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from gouache import check

if TYPE_CHECKING:
    from ._schedule import Schedule


def _ratios(schedule: Schedule, t: Tensor) -> Tensor:
    return schedule.ratio(t).clamp(schedule.ratio_min, schedule.ratio_max)


def _table(schedule: Schedule, points: int) -> int | None:
    check.count(points, "points of a grid", 1, schedule.table)
    return schedule.table


def trailing(schedule: Schedule, points: int) -> Tensor:
    """Return ratios at i = round(T - k T / K) - 1: the last step of the model is visited.

    Args:
        schedule: where the times become ratios.
        points: K, how many.

    Reference:
        Lin, Liu, Li, Yang, "Common diffusion noise schedules and sample steps are flawed", 2024,
        table 2.
    """
    k = torch.arange(points, dtype=torch.float64)
    table = _table(schedule, points)
    if table is None:
        return _ratios(schedule, 1 - k / points)
    return _ratios(schedule, (torch.round(table - k * (table / points)) - 1) / (table - 1))


def leading(schedule: Schedule, points: int) -> Tensor:
    """Return ratios at i = (K - 1 - k) floor(T / K): the first step of the model is visited.

    Args:
        schedule: where the times become ratios.
        points: K, how many.

    Reference:
        Song, Meng, Ermon, "Denoising diffusion implicit models", 2021, appendix D.2.
    """
    k = torch.arange(points - 1, -1, -1, dtype=torch.float64)
    table = _table(schedule, points)
    if table is None:
        return _ratios(schedule, k / points)
    return _ratios(schedule, k * (table // points) / (table - 1))


def linspace(schedule: Schedule, points: int) -> Tensor:
    """Return ratios at times evenly spaced from 1 to 0, rounded to the table if there is one.

    Args:
        schedule: where the times become ratios.
        points: K, how many.

    Reference:
        Nichol, Dhariwal, "Improved denoising diffusion probabilistic models", 2021, section 4.
    """
    table = _table(schedule, points)
    t = torch.linspace(1, 0, points, dtype=torch.float64)
    return _ratios(schedule, t if table is None else torch.round(t * (table - 1)) / (table - 1))


def karras(schedule: Schedule, points: int, rho: float = 7.0) -> Tensor:
    """Return ratios evenly spaced in r^(1/rho), from the schedule's largest to its smallest.

    r_k = (r_max^(1/rho) + k / (K - 1) (r_min^(1/rho) - r_max^(1/rho)))^rho

    Args:
        schedule: gives r_max and r_min.
        points: K, how many.
        rho: how strongly the points crowd towards small noise; 1 is even, infinity logarithmic.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, equation 5.
    """
    check.count(points, "points of a grid")
    high, low = schedule.ratio_max ** (1 / rho), schedule.ratio_min ** (1 / rho)
    return torch.linspace(high, low, points, dtype=torch.float64) ** rho


def log_uniform(schedule: Schedule, points: int) -> Tensor:
    """Return ratios evenly spaced in lambda = -log r, half the log signal-to-noise ratio.

    Args:
        schedule: gives r_max and r_min.
        points: K, how many.

    Reference:
        Lu, Zhou, Bao, Chen, Li, Zhu, "DPM-Solver: a fast ODE solver for diffusion probabilistic
        model sampling in around 10 steps", 2022, section 3.4.
    """
    check.count(points, "points of a grid")
    ends = torch.tensor([schedule.ratio_max, schedule.ratio_min], dtype=torch.float64).log()
    return torch.linspace(float(ends[0]), float(ends[1]), points, dtype=torch.float64).exp()


def angular(schedule: Schedule, points: int, sigma_data: float = 0.5) -> Tensor:
    """Return ratios evenly spaced in the angle theta = arctan(r / sigma_data).

    r_k = sigma_data tan(theta_k), theta from arctan(r_max / sigma_data) to that of r_min

    Signal and noise are two sides of a right triangle, and the path from noise to data is an arc
    of it: equal angles are equal lengths of path for data of that standard deviation. The range
    that other spacings spend on noise far above the data takes one step here.

    Args:
        schedule: gives r_max and r_min.
        points: K, how many.
        sigma_data: standard deviation of the data in the unit of the ratio.

    Reference:
        Salimans, Ho, "Progressive distillation for fast sampling of diffusion models", 2022,
        appendix D (the angle); Lu, Song, "Simplifying, stabilizing and scaling continuous-time
        consistency models", 2025, section 3.
    """
    check.count(points, "points of a grid")
    ends = torch.tensor([schedule.ratio_max, schedule.ratio_min], dtype=torch.float64) / sigma_data
    high, low = ends.arctan().tolist()
    return sigma_data * torch.linspace(high, low, points, dtype=torch.float64).tan()
