"""Operators against independent code, and the data step against dense solves."""

import numpy as np
import pytest
import torch
from scipy import ndimage, signal

from gouache import image, train
from gouache.check import InputError
from gouache.random import generator
from gouache.restore import Blur, Compose, Downsample, Identity, Mask, parse_operator
from gouache.restore._blur import gaussian
from gouache.restore._least_squares import conjugate_gradients, nearest

MODES = {"reflect": "reflect", "circular": "wrap", "replicate": "nearest", "zero": "constant"}


@pytest.fixture(autouse=True)
def one_thread():
    """Images are so small that two threads only wait for each other."""
    with train.threads(1):
        yield


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def dense(function, height, width):
    units = torch.eye(height * width).double().reshape(-1, height, width)
    return function(units).flatten(1).T


@pytest.mark.parametrize("boundary", MODES)
@pytest.mark.parametrize("taps", [(1, 1), (3, 5), (9, 3), (15, 17)])
@pytest.mark.parametrize("size", [(1, 1), (7, 6), (3, 12)])
def test_blur_is_the_convolution_of_scipy(boundary, taps, size):
    x, k = normal(*size), normal(*taps, seed=1)
    expected = ndimage.convolve(x.numpy(), k.numpy(), mode=MODES[boundary])
    found = Blur(k, boundary=boundary)(x)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-11)


def test_middle_of_an_even_kernel_is_that_of_numpy():
    for taps in (2, 4, 5):
        x, k = normal(1, 9), normal(1, taps, seed=1)
        expected = np.convolve(x[0].numpy(), k[0].numpy(), "same")
        found = Blur(k, boundary="zero")(x)[0]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("taps", [(3, 5), (4, 2), (7, 6)])
def test_valid_is_what_no_boundary_can_change(taps):
    x, k = normal(7, 6), normal(*taps, seed=1)
    expected = signal.convolve2d(x.numpy(), k.numpy(), mode="valid")
    np.testing.assert_allclose(Blur(k, boundary="valid")(x).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("boundary", MODES)
def test_gaussian_is_that_of_scipy(boundary):
    x = normal(20, 23)
    expected = ndimage.gaussian_filter(x.numpy(), 1.6, mode=MODES[boundary], radius=7)
    np.testing.assert_allclose(Blur(1.6, boundary=boundary)(x).numpy(), expected, atol=1e-12)


def test_sigma_of_a_blur_may_be_a_number_of_numpy():
    x = normal(9, 9)
    assert torch.equal(Blur(np.float64(1.6))(x), Blur(1.6)(x))
    assert torch.equal(Blur(np.float32(1.5))(x), Blur(1.5)(x))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_bicubic_is_the_antialiased_resize_inside(factor):
    x = torch.rand(3, 24 * factor, 16 * factor, generator=generator(0)).double()
    # 1e-6: the resize computes its weights in float32.
    inside = (slice(None), slice(2, -2), slice(2, -2))
    expected = image.resize(x, (24, 16))
    found = Downsample(factor)(x).clamp(0, 1)
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-6, rtol=0)


@pytest.mark.parametrize("factor", [2, 3])
def test_box_is_the_mean_of_blocks(factor):
    x = normal(2, 4 * factor, 5 * factor)
    expected = torch.nn.functional.avg_pool2d(x, factor)
    torch.testing.assert_close(Downsample(factor, "box")(x), expected)


@pytest.mark.parametrize("kernel", ["bicubic", "box", "lanczos"])
@pytest.mark.parametrize("size", [(7, 5), (1, 1), (8, 9)])
def test_constants_stay_constant_at_any_size(kernel, size):
    small = Downsample(3, kernel, size=size)(torch.full((1, *size), 0.3).double())
    assert small.shape[-2:] == tuple(-(-n // 3) for n in size)
    torch.testing.assert_close(small, torch.full_like(small, 0.3))


def test_places_of_pixels_are_those_of_their_areas():
    line = torch.arange(12.0).double().expand(6, 12)
    for factor in (2, 3):
        found = Downsample(factor, "box")(line)[0]
        expected = torch.arange(12 // factor) * factor + (factor - 1) / 2
        torch.testing.assert_close(found, expected.double())
    point = torch.ones(1, 1).double()
    torch.testing.assert_close(Downsample(2, point)(line)[0], line[0, ::2])
    torch.testing.assert_close(Downsample(3, point)(line)[0], line[0, 1::3])


CLOSED = {
    "identity": Identity(),
    "mask": Mask(torch.rand(6, 8, generator=generator(4)) < 0.5),
    "gaussian, reflect": Blur(1.2),
    "gaussian wider than the image, reflect": Blur(3.0),
    "any kernel, circular": Blur(normal(3, 4), boundary="circular"),
    "kernel larger than the image, circular": Blur(normal(9, 11), boundary="circular"),
    "bicubic, reflect": Downsample(2),
    "box, reflect": Downsample(2, "box"),
    "any kernel, every second, circular": Downsample(2, normal(3, 4), boundary="circular"),
    "blur, then bicubic": Compose(Blur(0.8), Identity(), Downsample(2)),
    "two blurs, every second, circular": Compose(
        Blur(normal(3, 5), boundary="circular"),
        Blur(0.7, boundary="circular"),
        Downsample(2, boundary="circular"),
    ),
}
ITERATED = {
    "any kernel, reflect": Blur(normal(3, 4)),
    "gaussian, zero": Blur(1.2, boundary="zero"),
    "any kernel, valid": Blur(normal(3, 4), boundary="valid"),
    "gaussian, replicate": Blur(1.2, boundary="replicate"),
    "every second after a kernel off centre": Downsample(2, normal(3, 3)),
    "sizes that are no multiple": Downsample(3, size=(6, 8)),
    "blur, then a mask": Compose(Blur(0.8), Mask(torch.rand(6, 8, generator=generator(5)) < 0.5)),
    "boundaries that differ": Compose(Blur(0.8), Downsample(2, boundary="circular")),
}


@pytest.mark.parametrize("rho", [1e-3, 0.3, 20.0])
@pytest.mark.parametrize("name", [*CLOSED, *ITERATED])
def test_data_step_is_the_dense_solution(name, rho):
    operator = (CLOSED | ITERATED)[name]
    A, z = dense(operator, 6, 8), normal(1, 6, 8, seed=2)
    y = normal(*operator(z).shape, seed=3)
    assert operator.exact(y) == (name in CLOSED)
    right = A.T @ y.flatten() + rho * z.flatten()
    expected = torch.linalg.solve(A.T @ A + rho * torch.eye(48).double(), right)
    x, u = nearest(operator, y, z, rho, tolerance=1e-12)
    torch.testing.assert_close(x.flatten(), expected, atol=1e-8, rtol=1e-8)
    torch.testing.assert_close(x, z + operator.adjoint(u), atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", [*CLOSED, *ITERATED])
def test_gram_inverse_is_symmetric_and_positive(name):
    operator = (CLOSED | ITERATED)[name]
    size = operator(torch.zeros(6, 8).double()).shape
    G = dense(lambda r: operator.gram_inverse(r, 0.1), *size)
    if name != "mask":  # it is 0 where nothing is known, and so is every residual
        assert torch.linalg.eigvalsh(G).min() > 0
    torch.testing.assert_close(G, G.T, atol=1e-10, rtol=0)


def steps(operator, y, *, precondition):
    """Return how often conjugate gradients apply ``A A^T + rho``."""
    count = 0

    def apply(v):
        nonlocal count
        count += 1
        return operator(operator.adjoint(v)) + 1e-3 * v

    towards = (lambda v: operator.gram_inverse(v, 1e-3)) if precondition else None
    conjugate_gradients(apply, y, precondition=towards, tolerance=1e-6)
    return count


@pytest.mark.parametrize("boundary", ["reflect", "replicate", "zero", "valid"])
def test_the_near_inverse_saves_iterations(boundary):
    motion = torch.eye(9).double() / 9
    operator, y = Blur(motion, boundary=boundary), normal(1, 48, 48)
    y = operator(normal(1, 56, 56)) if boundary == "valid" else y
    plain, better = (steps(operator, y, precondition=p) for p in (False, True))
    assert better < 0.9 * plain


def test_a_near_start_saves_iterations():
    operator, y, z = ITERATED["blur, then a mask"], normal(1, 6, 8), normal(1, 6, 8, seed=1)
    x, u = nearest(operator, y, z, 0.1, tolerance=1e-10)
    again, same = nearest(operator, y, z, 0.1, start=u, tolerance=1e-10)
    assert torch.equal(u, same)
    assert torch.equal(x, again)


def test_parts_that_merge_are_the_parts_in_turn():
    for operator in (CLOSED["blur, then bicubic"], CLOSED["two blurs, every second, circular"]):
        x = normal(2, 12, 8)
        torch.testing.assert_close(operator._one(x), operator(x), atol=1e-12, rtol=0)


def test_pinv_of_a_mask_and_of_a_blur_that_loses_nothing_are_inverses():
    x = normal(1, 9, 7)
    for operator in (Blur(0.5), Blur(0.5, boundary="circular"), Identity()):
        torch.testing.assert_close(operator.pinv(operator(x)), x, atol=1e-8, rtol=0)


def test_a_mask_may_differ_between_channels():
    bayer = torch.zeros(3, 4, 4, dtype=torch.bool)
    bayer[0, ::2, ::2] = bayer[1, ::2, 1::2] = bayer[1, 1::2, ::2] = bayer[2, 1::2, 1::2] = True
    x = normal(2, 3, 4, 4)
    assert torch.equal(Mask(bayer)(x), x * bayer)
    assert (Mask(bayer)(x) != 0).sum(1).eq(1).all()


def test_words_make_operators(tmp_path):
    x = normal(1, 12, 12)
    plus = torch.tensor([[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]])
    image.save(plus, tmp_path / "plus.png")
    image.save((x > 0).float(), tmp_path / "mask.png")
    for word, expected in (
        ("identity", x),
        ("blur:1.6", Blur(1.6)(x)),
        ("downsample:3", Downsample(3)(x)),
        (f"blur:{tmp_path / 'plus.png'}", Blur(plus[0].double() / 5)(x)[:, 1:-1, 1:-1]),
        (f"mask:{tmp_path / 'mask.png'}", x * (x > 0)),
        (["blur:1.6", "downsample:2"], Downsample(2)(Blur(1.6)(x))),
    ):
        torch.testing.assert_close(parse_operator(word)(x), expected)
    with pytest.raises(InputError, match="an operator is needed: identity"):
        parse_operator([])


def test_gaussian_kernel_sums_to_1_and_has_its_variance():
    k = gaussian(2.0)
    t = torch.arange(len(k)) - len(k) // 2
    assert float(k.sum()) == pytest.approx(1, abs=1e-12)
    assert float((k.sum(0) * t**2).sum()) == pytest.approx(4, rel=2e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Blur(torch.ones(3)), r"kernel must have shape \(rows, columns\)"),
        (lambda: Blur(torch.ones(0, 3)), "not empty"),
        (lambda: Blur(torch.ones(3, 3, dtype=torch.long)), "kernel must be a float tensor"),
        (lambda: Blur(torch.full((3, 3), float("nan"))), "kernel must be finite"),
        (lambda: Blur(True), "must be a finite number"),
        (lambda: Blur(np.float32(0)), "sigma of the blur in pixels"),
        (lambda: Blur(0.0), "sigma of the blur in pixels"),
        (lambda: Blur(1.0, boundary="mirror"), "unknown boundary"),
        (lambda: Blur(1.0, boundary="valid")(torch.ones(1, 5, 5)), "is smaller than the kernel"),
        (lambda: Downsample(2, boundary="valid"), "unknown boundary"),
        (lambda: Downsample(0), "factor must be in"),
        (lambda: Downsample(1.5), "factor must be a whole number"),
        (lambda: Downsample(2, "bicubik"), 'did you mean "bicubic"'),
        (lambda: Downsample(2)(torch.ones(1, 5, 4)), r"pass size=\(5, 4\)"),
        (lambda: Downsample(2, size=(5, 4))(torch.ones(1, 4, 4)), r"x must have the size \(5, 4\)"),
        (lambda: Downsample(2, size=(5, 4)).adjoint(torch.ones(1, 2, 2)), r"size \(3, 2\)"),
        (lambda: Mask(torch.ones(3, 3)), "pass mask > 0.5"),
        (lambda: Mask(torch.zeros(3, 3, dtype=torch.bool)), "no pixel known"),
        (lambda: Mask(torch.ones(3, dtype=torch.bool)), r"got shape \(3,\)"),
        (lambda: Mask(torch.ones(2, 3, 3, dtype=torch.bool))(torch.ones(3, 3, 3)), "must agree"),
        (lambda: Compose(), "got none"),
        (lambda: Compose(Blur(1.0), 2), "got Blur, int"),
    ],
)
def test_mistakes_name_the_mend(make, message):
    with pytest.raises(InputError, match=message):
        make()
