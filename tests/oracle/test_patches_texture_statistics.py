"""Textures by statistics and optimisation, against closed forms, identities, linear programs."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment

from gouache import data, patches
from gouache.check import InputError
from gouache.patches import _patch_transport, _random_phase
from gouache.patches import _texture_optimization as optimization
from gouache.patches._random_phase import gaussian_field, periodic_component
from gouache.patches._texture import wanted
from gouache.patches._texture_scales import doubled, halved, scales
from gouache.random import generator


def autocovariance(u):
    """Return ``(C, C, H, W)``: mean over the torus of (u_a(r) - m_a)(u_b(r + t) - m_b)."""
    centred = u.double() - u.double().mean((1, 2), keepdim=True)
    f = torch.fft.fft2(centred)
    return torch.fft.ifft2(f.conj()[:, None] * f[None]).real / (u.shape[1] * u.shape[2])


@pytest.fixture(scope="module")
def colour():
    """Return a smooth colour exemplar whose channels are correlated."""
    noise = torch.randn(1, 4, 30, 34, generator=generator(0))
    base, *own = torch.nn.functional.avg_pool2d(noise, (3, 7), 1)[0]
    return (0.5 + 0.15 * base + 0.05 * torch.stack(own)).clamp(0, 1)


def test_periodic_component_has_the_laplacian_of_the_image_inside_its_border(colour):
    """Moisan: the torus Laplacian of p is that of u without the steps across the border."""
    u = colour.double()
    p = periodic_component(u)
    around = sum(p.roll(s, a) - p for a in (1, 2) for s in (1, -1))
    inside = torch.zeros_like(u)
    for a in (1, 2):
        step = u.diff(dim=a)
        n = u.shape[a]
        inside.narrow(a, 0, n - 1).add_(step)
        inside.narrow(a, 1, n - 1).sub_(step)
    torch.testing.assert_close(around, inside)
    torch.testing.assert_close(p.mean((1, 2)), u.mean((1, 2)))


def test_periodic_component_of_a_wave_is_the_wave():
    t = torch.arange(24).double() * 2 * math.pi / 24
    wave = 0.5 + 0.2 * (2 * t).sin()[:, None] * (3 * t).cos()
    # neighbours across the border differ as neighbours inside do, so that little is taken away
    assert (periodic_component(wave[None])[0] - wave).abs().max() < 0.1
    flat = torch.full((1, 5, 9), 0.3).double()
    torch.testing.assert_close(periodic_component(flat), flat)


@pytest.mark.parametrize("moduli", [False, True])
def test_covariance_is_the_autocovariance_of_the_periodic_component(colour, moduli):
    """Both fields have, on average, the exemplar's covariance within and between channels."""
    torus, rng, count = tuple(colour.shape[1:]), generator(1), 600
    draws = [gaussian_field(colour, torus, rng, moduli=moduli) for _ in range(count)]
    found = torch.stack([autocovariance(x) for x in draws])
    expected = autocovariance(periodic_component(colour.double()))
    error = (found.mean(0) - expected).abs()
    allowed = 5 * found.std(0) / math.sqrt(count) + 1e-3 * expected.abs().max()
    assert (error < allowed).all()


def test_pixels_of_adsn_are_gaussian_with_the_variance_of_the_exemplar(colour):
    torus, rng = tuple(colour.shape[1:]), generator(2)
    values = torch.stack([gaussian_field(colour, torus, rng)[0, ::9, ::9] for _ in range(500)])
    variance = periodic_component(colour.double())[0].var(correction=0)
    assert float(values.square().mean() / variance) == pytest.approx(1, abs=0.08)
    kurtosis = values.pow(4).mean() / values.square().mean() ** 2
    assert float(kurtosis) == pytest.approx(3, abs=0.15)


def test_random_phase_keeps_moduli_and_cross_spectra(colour):
    """The same phase turns all channels: F_a conj(F_b) stays, not |F_a| alone."""
    x = patches.random_phase(colour, rng=generator(3)).image.double()
    assert x.min() > 0  # nothing was clipped
    assert x.max() < 1
    f, g = torch.fft.fft2(x), torch.fft.fft2(periodic_component(colour.double()))
    cross = [h[:, None] * h[None].conj() for h in (f, g)]
    torch.testing.assert_close(*cross, atol=1e-3, rtol=1e-3)
    assert (f[0].angle() - g[0].angle()).abs()[1:15, 1:15].mean() > 0.5


def test_phases_are_odd_and_uniform():
    point, rng = torch.zeros(1, 16, 16), generator(4)
    point[0, 0, 0] = 1
    fields = [gaussian_field(point, (16, 16), rng, moduli=True)[0] for _ in range(100)]
    spectra = torch.fft.fft2(torch.stack(fields).double())
    angles = spectra[:, 1:8, 1:8].angle() / (2 * math.pi) % 1  # no two of them are conjugates
    counts = torch.histc(angles.float(), 10, 0, 1)
    expected = angles.numel() / 10
    assert float((counts - expected).square().sum() / expected) < 27.9  # chi squared, p = 0.001
    assert angles.flatten(1).T.corrcoef().fill_diagonal_(0).abs().max() < 0.5


@pytest.mark.parametrize("torus", [(30, 68), (90, 34), (75, 80), (15, 34), (11, 17)])
def test_other_sizes_keep_the_variance(colour, torus):
    """A larger torus holds a faded spot, a smaller one a folded: near the same variance."""
    rng = generator(5)
    draws = torch.stack([gaussian_field(colour, torus, rng) for _ in range(100)])
    ratio = draws.var() / colour.flatten(1).var(1).mean()
    assert 0.7 < ratio < 1.3
    step = (draws[..., 0] - draws[..., -1]).square().mean() / (
        draws[..., 1:] - draws[..., :-1]
    ).square().mean()
    assert 0.7 < step < 1.4  # the field goes on around the torus


def test_a_larger_torus_has_the_covariance_of_its_spot(colour):
    torus, rng, count = (41, 60), generator(6), 400
    spot = _random_phase.spot(colour.double(), torus)
    f = torch.fft.fft2(spot - spot.mean((1, 2), keepdim=True))
    expected = torch.fft.ifft2(f.conj()[:, None] * f[None]).real
    found = torch.stack([autocovariance(gaussian_field(colour, torus, rng)) for _ in range(count)])
    allowed = 5 * found.std(0) / math.sqrt(count) + 1e-3 * expected.abs().max()
    assert ((found.mean(0) - expected).abs() < allowed).all()


def test_one_of_several_exemplars_is_drawn():
    dark, light = torch.full((1, 9, 9), 0.2), torch.full((1, 9, 9), 0.8)
    means = {
        round(float(patches.adsn([dark, light], 6, rng=generator(s)).image.mean()), 3)
        for s in range(12)
    }
    assert means == {0.2, 0.8}


def spread(count, dims, seed):
    return torch.randn(count, dims, generator=generator(seed))


@pytest.mark.parametrize(("dims", "n", "j"), [(1, 150, 40), (2, 200, 200), (9, 300, 120)])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_dual_reaches_exact_transport(dims, n, j, weighted):
    """POT solves the linear program; the dual is below it, and within one per cent."""
    ot = pytest.importorskip("ot")
    x, y = spread(n, dims, 1) + 1, 0.7 * spread(j, dims, 2)
    masses = torch.rand(j, generator=generator(3)) + 0.2 if weighted else torch.ones(j)
    found = patches.semidual(x, y, masses, steps=1500, rng=generator(4))
    cost = torch.cdist(x.double(), y.double()).square()
    exact = ot.emd2(torch.full((n,), 1 / n).double(), masses.double() / masses.sum().double(), cost)
    assert 0.99 * float(exact) < found.value < float(exact) + 1e-4


def test_as_many_samples_as_points_are_assigned_one_to_one():
    x, y = spread(60, 3, 5), spread(60, 3, 6) + 2
    cost = torch.cdist(x, y).square()
    rows, cols = linear_sum_assignment(cost.numpy())
    found = patches.semidual(x, y, steps=4000, rng=generator(7))
    assert found.value == pytest.approx(float(cost[rows, cols].mean()), rel=0.01)
    assert (found.nearest(x) == torch.from_numpy(cols)).float().mean() > 0.5


def test_cells_on_a_line_are_quantiles():
    """On the line the map is monotone: mass 0.2 goes to the least point, 0.5 to the next."""
    points, masses = torch.tensor([[0.1], [0.4], [0.9]]), torch.tensor([0.2, 0.5, 0.3])

    def uniform(count, rng):
        return torch.rand(count, 1, generator=rng)

    found = patches.semidual(uniform, points, masses, steps=4000, rng=generator(8))
    x = torch.linspace(0, 1, 1001)[:, None]
    cells = found.nearest(x)
    assert cells.diff().min() >= 0
    edges = x[1:, 0][cells.diff() > 0]
    torch.testing.assert_close(edges, torch.tensor([0.2, 0.7]), atol=0.01, rtol=0)
    assert torch.equal(found.transport(x), points[cells])


def test_mass_error_falls_with_the_steps():
    points = spread(100, 4, 9)

    def shifted(count, rng):
        return 0.5 * torch.randn(count, 4, generator=rng) + 1

    errors = [
        patches.semidual(shifted, points, steps=n, rng=generator(10)).mass_error
        for n in (1, 30, 1000)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]
    assert errors[2] < 0.1


def test_semidual_refuses_what_does_not_fit():
    points = torch.rand(5, 2)
    with pytest.raises(InputError, match="as long as the points"):
        patches.semidual(torch.rand(9, 3), points)
    with pytest.raises(InputError, match="one a point"):
        patches.semidual(torch.rand(9, 2), points, torch.ones(4))
    with pytest.raises(InputError, match="not empty"):
        patches.semidual(torch.rand(9, 2), points[:0])


def sliced(a, b, seed, patch=5):
    """Return the sliced squared Wasserstein distance of two images' patches."""
    rng = generator(seed)
    sets = [
        image.unfold(1, patch, 1).unfold(2, patch, 1)[0].reshape(-1, patch**2) for image in (a, b)
    ]
    drawn = [s[torch.randint(len(s), (3000,), generator=rng)] for s in sets]
    way = torch.nn.functional.normalize(torch.randn(patch**2, 64, generator=rng), dim=0)
    one, two = ((s @ way).sort(0).values for s in drawn)
    return float((one - two).square().mean())


@pytest.fixture(scope="module")
def crops():
    """Return a crop of brick, one of grass and one of gravel, each ``(1, 96, 96)``."""
    found = data.textures(size=(96, 96), n=30, seed=3)
    return [found.all()[(found.labels == k).nonzero()[0, 0]] for k in range(3)]


@pytest.fixture(scope="module")
def brick(crops):
    return crops[0]


def test_transported_patches_have_the_law_of_the_exemplar(brick):
    """Far nearer than the Gaussian texture that it begins with."""
    gaussian = patches.adsn(brick, rng=generator(0)).image
    made = patches.patch_transport(brick, points=1000, steps=100, rng=generator(0))
    assert sliced(made.image, brick, 1) < 0.25 * sliced(gaussian, brick, 1)
    assert (made.origin == -1).all()


def test_guided_masses_are_the_shares_of_the_wish(brick):
    """A quarter of the texture is guided as half of the exemplar is: so much mass has that half."""
    guide, wish = torch.zeros(1, 96, 96), torch.zeros(1, 64, 64)
    guide[:, :48], wish[:, :16] = 1, 1
    asked = wanted(brick, 64, True, (guide, wish))
    scale = scales(asked, 3, 1000, 1.0)[-1]
    known = _patch_transport._points(scale, 2000, generator(0))
    upper = known.place[:, 0] < 46
    assert known.mass is not None
    assert float(known.mass.sum()) == pytest.approx(1, abs=1e-4)
    assert float(known.mass[upper].sum()) == pytest.approx(0.25, abs=0.05)


def test_energy_does_not_rise(brick):
    """Each round is a match and a reweighted vote; both lower the same energy."""
    scale = scales(wanted(brick, 60, True, None), 6, 1000, 1.0)[0]
    rng = generator(0)
    state = optimization.begun(optimization._start(scale, rng), scale)
    energies = [optimization.energy(state, scale)]
    for _ in range(8):
        state = optimization.improved(state, scale, 0.0, rng)
        energies.append(optimization.energy(state, scale))
    assert all(b <= a * (1 + 1e-5) for a, b in itertools.pairwise(energies))
    assert energies[-1] < 0.7 * energies[0]


def test_uniformity_spreads_the_use_of_the_exemplar(crops):
    """How much the use of gravel varies over blocks of 8 x 8 pixels, on average over three runs."""
    uneven = {0.0: 0.0, 0.5: 0.0}
    for uniformity, seed in itertools.product(uneven, range(3)):
        made = patches.texture_optimization(
            crops[2], 160, uniformity=uniformity, rng=generator(seed)
        )
        place = (made.origin[1].long() * 96 + made.origin[2]).flatten()
        count = torch.bincount(place, minlength=96**2).view(1, 96, 96).float()
        uneven[uniformity] += float(torch.nn.functional.avg_pool2d(count, 8).std())
    assert uneven[0.5] < 0.95 * uneven[0.0]


def test_usage_counts_the_matches_that_hold_a_pixel(brick):
    scale = scales(wanted(brick, 20, True, None), 4, 1000, 1.0)[0]
    state = optimization.begun(optimization._start(scale, generator(2)), scale)
    counts = torch.zeros(96, 96)
    for row, col in state.field.place.flatten(0, 2).tolist():
        counts[row : row + 4, col : col + 4] += 1
    torch.testing.assert_close(optimization._usage(state.field, scale), counts / (400 * 16) * 96**2)


def test_every_pixel_is_copied_from_its_origin(brick):
    other = brick.flip(1)[:, :70, :81]
    made = patches.texture_optimization([brick, other], (50, 64), tileable=True, rng=generator(3))
    number, row, col = made.origin.long()
    for k, u in enumerate((brick, other)):
        torch.testing.assert_close(
            made.image[:, number == k], u[:, row[number == k], col[number == k]]
        )
    assert set(number.unique().tolist()) == {0, 1}


def test_a_periodic_exemplar_goes_on():
    """The period is kept from side to side; a run may end with two phases, most must not."""
    tile = torch.nn.functional.avg_pool2d(torch.rand(1, 10, 14, generator=generator(5)), 3, 1)
    pattern, off = tile.repeat(1, 12, 8), []
    for seed in range(5):
        made = patches.texture_optimization(pattern, (48, 72), rng=generator(seed)).image
        down, right = made[:, 8:] - made[:, :-8], made[:, :, 12:] - made[:, :, :-12]
        off.append(float(torch.maximum(down.abs().mean(), right.abs().mean())))
    assert sorted(off)[2] < 0.02 * pattern.std()


@pytest.mark.parametrize("tileable", [True, False])
def test_a_field_of_shifts_is_doubled_to_the_same_shift(brick, tileable):
    """The exemplar itself, cut at (6, 4) of half the scale, is cut at (12, 8) at the full one."""
    coarse, fine = scales(wanted(brick, 40, tileable, None), 5, 48, 1.0)
    h, w = coarse.places
    at = torch.stack(torch.meshgrid(torch.arange(h) + 6, torch.arange(w) + 4, indexing="ij"), -1)
    field = patches.Field(at[None].int(), torch.zeros(1, h, w), 5)
    place = doubled(field, coarse, fine)[0]
    h, w = fine.places
    expected = torch.stack(
        torch.meshgrid(torch.arange(h) + 12, torch.arange(w) + 8, indexing="ij"), -1
    )
    assert torch.equal(place, expected.int())
    if not tileable:
        built = patches.vote(fine.field(patches.Field(place[None], torch.zeros(1, h, w), 5)), brick)
        torch.testing.assert_close(fine.cut(built), brick[:, 12:52, 8:48])


def test_halved_is_the_binomial_of_every_second_pixel(brick):
    weights = np.array([1, 4, 6, 4, 1]) / 16
    image = brick[0, :31, :40].numpy()
    smooth = image
    for axis in (0, 1):
        smooth = ndimage.correlate1d(smooth, weights, axis, mode="mirror")
    torch.testing.assert_close(halved(brick[:, :31, :40])[0], torch.from_numpy(smooth[::2, ::2]))
