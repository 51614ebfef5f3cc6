"""Non-local means against its definition, written as loops in float64."""

import numpy as np
import pytest
import torch

from gouache.check import InputError
from gouache.patches import nlmeans

CASES = [(1, 13, 17, 3, 7), (3, 40, 9, 5, 5), (1, 3, 5, 5, 9), (2, 36, 8, 3, 9)]


def weights_of(u, sigma, patch, window, h, slack):
    """Return ``{p: {q: w(p, q)}}``."""
    f, half = patch // 2, window // 2
    height, width = sigma.shape
    padded = np.pad(u.astype(np.float64), ((0, 0), (f, f), (f, f)), "symmetric")
    patches = {
        (y, x): padded[:, y : y + patch, x : x + patch] for y in range(height) for x in range(width)
    }

    def weight(p, q):
        if p == q:
            return 1.0
        noise = sigma[p] ** 2 + sigma[q] ** 2
        d2 = ((patches[p] - patches[q]) ** 2).mean()
        forgiven = noise * (1 + slack * np.sqrt(2 / patches[p].size))
        return np.exp(-max(d2 - forgiven, 0) / (h**2 * noise / 2))

    def near(p):
        return [q for q in patches if max(abs(q[0] - p[0]), abs(q[1] - p[1])) <= half]

    return {p: {q: weight(p, q) for q in near(p)} for p in patches}, patches


def by_pixels(u, sigma, patch, window, h, slack):
    weights, _ = weights_of(u, sigma, patch, window, h, slack)
    out = np.zeros(u.shape)
    for (y, x), found in weights.items():
        total = sum(found.values())
        out[:, y, x] = sum(w * u[:, q[0], q[1]].astype(float) for q, w in found.items()) / total
    return out


def by_patches(u, sigma, patch, window, h, slack):
    weights, patches = weights_of(u, sigma, patch, window, h, slack)
    f, (height, width) = patch // 2, sigma.shape
    out, count = np.zeros(u.shape), np.zeros(sigma.shape)
    for (y, x), found in weights.items():
        mean = sum(w * patches[q] for q, w in found.items()) / sum(found.values())
        for i in range(max(0, y - f), min(height, y + f + 1)):
            for j in range(max(0, x - f), min(width, x + f + 1)):
                out[:, i, j] += mean[:, i - y + f, j - x + f]
                count[i, j] += 1
    return out / count


def example(channels, height, width):
    rng = np.random.default_rng(0)
    ramp = np.broadcast_to(np.linspace(0, 1, height)[:, None], (channels, height, width))
    u = (ramp + 0.1 * rng.standard_normal(ramp.shape)).astype(np.float32)
    sigma = np.broadcast_to(0.1 * np.linspace(1, 1.5, width, dtype=np.float32), (height, width))
    return u, np.ascontiguousarray(sigma)


@pytest.mark.parametrize(("channels", "height", "width", "patch", "window"), CASES)
@pytest.mark.parametrize(("how", "slack"), [("pixel", 0.0), ("pixel", 1.0), ("patch", 0.7)])
def test_kernels_and_tensors_are_the_definition(channels, height, width, patch, window, how, slack):
    u, sigma = example(channels, height, width)
    expected = (by_pixels if how == "pixel" else by_patches)(u, sigma, patch, window, 0.5, slack)
    for image in (torch.from_numpy(u), torch.from_numpy(u).requires_grad_()):
        options = {"patch": patch, "window": window, "h": 0.5, "slack": slack, "aggregate": how}
        found = nlmeans(image, torch.from_numpy(sigma), **options)
        np.testing.assert_allclose(found.detach().numpy(), expected, atol=1e-5, rtol=0)


def test_gradient_is_that_of_finite_differences():
    u, _ = example(1, 6, 5)
    image = torch.from_numpy(u).requires_grad_()
    weight = torch.linspace(-1, 1, 30).view(1, 6, 5)
    (weight * nlmeans(image, 0.1, patch=3, window=5, h=0.8)).sum().backward()
    step = 1e-2
    for y, x in ((0, 0), (3, 2), (5, 4)):
        ends = [image.detach().clone(), image.detach().clone()]
        ends[0][0, y, x] -= step
        ends[1][0, y, x] += step
        low, high = ((weight * nlmeans(e, 0.1, patch=3, window=5, h=0.8)).sum() for e in ends)
        assert float(image.grad[0, y, x]) == pytest.approx(float(high - low) / 2 / step, abs=0.05)


@pytest.mark.parametrize("aggregate", ["pixel", "patch"])
def test_a_window_ends_with_the_image(aggregate):
    u = torch.from_numpy(example(1, 7, 12)[0])
    for image in (u, u.clone().requires_grad_()):
        whole, more = (
            nlmeans(image, 0.1, patch=3, window=side, aggregate=aggregate) for side in (23, 100_001)
        )
        assert torch.equal(more, whole)


@pytest.mark.parametrize("name", ["patch", "window"])
def test_even_sides_are_refused(name):
    with pytest.raises(InputError, match=f"{name} must be odd, got 4; pass 5"):
        nlmeans(torch.rand(1, 9, 9), 0.1, **{name: 4})
