"""The one source of randomness: counter-based streams keyed by (seed, purpose, sample).

Notation: a *key* is a 64-bit integer that names a stream; ``derive(key, a, b)`` names a stream
below it. ``keyed_normal(keys, shape, stream)`` gives sample i the same numbers whatever batch,
chunk, rank or device it sits in: each number is a hash of (key_i, stream, position), so there is
no state to save, and to resume is to hash again.

The hash is the finaliser of SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
generators", 2014), evaluated on whole tensors in wrapping 64-bit integers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1


def _signed(value: int) -> int:
    value &= _MASK
    return value - (1 << 64) if value >> 63 else value


_M1, _M2 = _signed(0xBF58476D1CE4E5B9), _signed(0x94D049BB133111EB)


def generator(seed: int) -> torch.Generator:
    """Return a CPU generator seeded with ``seed`` (any integer)."""
    return torch.Generator().manual_seed(_signed(seed))


def draw_seed(rng: torch.Generator | None) -> int:
    """Draw one 63-bit seed from ``rng`` (or from torch's global generator)."""
    device = "cpu" if rng is None else rng.device
    return int(torch.randint(0, 2**63 - 1, (), generator=rng, device=device))


def derive(seed: int, *path: int) -> int:
    """Return the seed of the stream named by ``path`` below ``seed``; a signed 64-bit integer."""
    state = seed & _MASK
    for part in path:
        state = _mix_int((state + _GOLDEN * ((part & _MASK) + 1)) & _MASK)
    return _signed(state)


def _mix_int(z: int) -> int:
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return z ^ (z >> 31)


def _mix(z: Tensor) -> Tensor:
    """Hash ``z``; after the first operation in place, for large tensors wait on memory."""
    z = (z ^ _shift(z, 30)).mul_(_M1)
    z.bitwise_xor_(_shift(z, 27)).mul_(_M2)
    return z.bitwise_xor_(_shift(z, 31))


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift of signed 64-bit integers, as a new tensor."""
    return (z >> bits).bitwise_and_((1 << (64 - bits)) - 1)


def keys(rng: torch.Generator | None, index: int | Tensor) -> Tensor:
    """Return one key a sample: ``(B,)`` int64, a function of (one draw of ``rng``, index).

    ``index`` is the number of samples, or their indices ``(B,)``.
    """
    index = torch.arange(index) if isinstance(index, int) else index
    return derive_keys(draw_seed(rng), index)


def derive_keys(seed: int, index: Tensor) -> Tensor:
    """Return one key a sample from a seed and the samples' indices ``(B,)``."""
    return _mix((index.to(torch.int64) + 1) * _signed(_GOLDEN) + seed)


def batch_keys(rng: torch.Generator, batch: Mapping[str, Tensor]) -> Tensor:
    """Return one key a sample of a training batch, the same on every rank and micro-batch.

    Keyed by the batch's ``draw`` (its number in the data order), else its ``index``, else its
    position.
    """
    size = len(next(iter(batch.values())))
    index = batch.get("draw", batch.get("index"))
    return keys(rng, size if index is None else index)


def keyed_bits(keys: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Return random 64-bit integers ``(B, *shape)``, a hash of (key, stream, position)."""
    count = math.prod(shape)
    start = _mix(keys + _signed(_GOLDEN * (2 * stream + 1)))
    position = torch.arange(1, count + 1, device=keys.device) * _signed(_GOLDEN)
    return _mix(start[:, None] + position).view(len(keys), *shape)


def keyed_uniform(keys: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Return float64 uniforms in (0, 1), ``(B, *shape)``, 52 bits each, never 0 or 1."""
    return _shift(keyed_bits(keys, shape, stream), 12).double().add_(0.5).mul_(2.0**-52)


def keyed_normal(keys: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Return float64 standard normals ``(B, *shape)`` (Box and Muller, 1958)."""
    count = math.prod(shape)
    half = (count + 1) // 2
    u = keyed_uniform(keys, (2, half), stream)
    radius, angle = u[:, 0].log_().mul_(-2).sqrt_(), u[:, 1].mul_(2 * math.pi)
    pair = torch.cat([angle.cos().mul_(radius), angle.sin().mul_(radius)], dim=1)
    return pair[:, :count].reshape(len(keys), *shape)


class Noise:
    """Gaussian noise for a batch whose samples have ``keys``: ``noise(k, like)`` is draw k.

    Sample i's draw k depends on (keys[i], k) alone, so a sampler that uses it gives each sample
    the same path however the samples were chunked.
    """

    def __init__(self, keys: Tensor) -> None:
        self.keys = keys

    def __call__(self, stream: int, like: Tensor) -> Tensor:
        """Return standard normals in the shape, dtype and device of ``like`` ``(B, ...)``."""
        draw = keyed_normal(self.keys, tuple(like.shape[1:]), stream)
        return draw.to(device=like.device, dtype=like.dtype)
