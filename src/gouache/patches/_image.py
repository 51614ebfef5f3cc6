"""What every patch method asks of its images, and of the noise level."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

MOST = 4.0


def batched(image: Tensor, name: str = "image") -> Tensor:
    """Return an image ``(C, H, W)`` or a batch of them as ``(B, C, H, W)``, float32.

    Noise may take values out of [0, 1], so that only what looks like 8-bit levels is refused.

    Raises:
        InputError: no tensor, another rank, empty, whole numbers, NaN, or 8-bit levels.
    """
    if not isinstance(image, Tensor):
        raise InputError(
            f"{name} must be a torch tensor (C, H, W), got {type(image).__name__}; "
            "gouache.image.as_tensor converts NumPy and PIL images"
        )
    if image.ndim not in (3, 4) or 0 in image.shape:
        raise InputError(
            f"{name} must be (C, H, W) or (B, C, H, W), not empty, got {tuple(image.shape)}"
        )
    if not image.is_floating_point():
        raise InputError(
            f"{name} must be float in units of the pixel range, got {image.dtype}; divide by 255"
        )
    largest = float(check.finite(image, name).detach().abs().max())
    if largest > MOST:
        raise InputError(
            f"{name} must be in units of the pixel range [0, 1], got values up to {largest:.4g}; "
            "divide 8-bit levels by 255"
        )
    return (image if image.ndim == 4 else image[None]).float().contiguous()


def like(result: Tensor, image: Tensor) -> Tensor:
    """Return ``result`` ``(B, C, H, W)`` in the rank of ``image``, on its device."""
    return (result if image.ndim == 4 else result[0]).to(image.device)


def kept(result: Tensor, image: Tensor, sigma: Tensor) -> Tensor:
    """Return ``result`` ``(B, C, H, W)``, but the pixels of ``image`` where there is no noise."""
    return torch.where(sigma > 0, result.to(image.device), image)


def sigma_of(sigma: float | Tensor | None, image: Tensor) -> Tensor:
    """Return the noise level of a batch ``(B, C, H, W)`` as ``(B, 1, 1, 1)`` or ``(B, 1, H, W)``.

    It carries no gradient.

    Args:
        sigma: standard deviation in units of the pixel range, one number, one an image ``(B,)``,
            or a map ``(H, W)`` or ``(B, 1, H, W)``; None estimates one number an image.
        image: the noisy batch.

    Raises:
        InputError: negative, NaN, above 1 (or estimated so), or of a shape that does not fit.
    """
    from ._noise import estimate_sigma

    b, _, h, w = image.shape
    level = estimate_sigma(image) if sigma is None else torch.as_tensor(sigma).detach()
    level = check.finite(level.float().to(image.device), "sigma")
    low, high = float(level.min()), float(level.max())
    if sigma is None and high > 1:
        raise InputError(
            f"the noise of the image was estimated as {high:.3g}, and the pixel range is [0, 1]; "
            "divide the image, or pass sigma"
        )
    if low < 0 or high > 1:
        raise InputError(
            f"sigma must be in [0, 1] (units of the pixel range), got {low if low < 0 else high:g}"
            "; for 8-bit levels pass 25/255"
        )
    if level.ndim == 0 or tuple(level.shape) == (b,):
        return level.expand(b).reshape(b, 1, 1, 1)
    if tuple(level.shape) in ((h, w), (b, 1, h, w), (1, 1, h, w)):
        return level.expand(b, 1, h, w)
    raise InputError(
        f"sigma must be a number, ({b},), ({h}, {w}) or ({b}, 1, {h}, {w}), "
        f"got {tuple(level.shape)}"
    )


def mirrored(image: Tensor, f: int) -> Tensor:
    """Extend ``(..., H, W)`` by f pixels on every side, by reflection about the border's edge.

    The border pixel is repeated, and reflections repeat too where f exceeds the image.
    """
    rows, cols = (reflected(torch.arange(-f, n + f), n) for n in image.shape[-2:])
    return image[..., rows.to(image.device), :][..., cols.to(image.device)]


def reflected(place: Tensor, n: int) -> Tensor:
    """Return which of n pixels is found at places beyond either end, mirrored there."""
    turn = place % (2 * n)
    return torch.where(turn < n, turn, 2 * n - 1 - turn)


def opponent(channels: int) -> Tensor:
    """Return the space in which three channels are filtered, ``(C, C)``, one row a channel.

    Luminance, red against blue, green against the two; the absolute values of a row sum to 1.
    Images of other numbers of channels stay as they are.
    """
    if channels != 3:
        return torch.eye(channels)
    return torch.tensor([[1 / 3, 1 / 3, 1 / 3], [0.5, 0.0, -0.5], [0.25, -0.5, 0.25]])
