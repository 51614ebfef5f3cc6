"""What every operator and every solver keeps to, over all names of ``operator`` and ``restore``."""

import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gouache import registry, train
from gouache.check import InputError
from gouache.contracts import Operator
from gouache.patches import estimate_sigma
from gouache.random import generator
from gouache.restore import Blur, Compose, Downsample, Identity, Mask

BOUNDARIES = ("reflect", "circular", "replicate", "zero")
SIGMA = 2 / 255


@pytest.fixture(autouse=True)
def one_thread():
    """Images are so small that two threads only wait for each other."""
    with train.threads(1):
        yield


def kernel(rows=3, columns=4):
    """Return a kernel that is not symmetric, and whose blur loses no frequency."""
    taps = torch.rand(rows, columns, generator=generator(1)).double()
    taps = 0.5 * taps / taps.sum()
    taps[(rows - 1) // 2, (columns - 1) // 2] += 0.5
    return taps


def known(height, width):
    mask = torch.rand(height, width, generator=generator(2)) < 0.5
    mask[0, 0] = True
    return mask


# For every operator: what makes it for an image of this size.
CASES = {
    "Identity": [lambda h, w: Identity()],
    "Mask": [lambda h, w: Mask(known(h, w)), lambda h, w: Mask(known(h, w)[None])],
    "Blur": [
        *(lambda h, w, b=b: Blur(kernel(), boundary=b) for b in BOUNDARIES),
        *(lambda h, w, b=b: Blur(kernel(7, 2), boundary=b) for b in BOUNDARIES),
        *(lambda h, w, b=b: Blur(0.6, boundary=b) for b in BOUNDARIES),
        lambda h, w: Blur(kernel(min(h, 3), min(w, 4)), boundary="valid"),
    ],
    "Downsample": [
        *(lambda h, w, b=b: Downsample(2, size=(h, w), boundary=b) for b in BOUNDARIES),
        *(lambda h, w, b=b: Downsample(3, kernel(), size=(h, w), boundary=b) for b in BOUNDARIES),
        lambda h, w: Downsample(3, "box", size=(h, w)),
        lambda h, w: Downsample(1, "lanczos", size=(h, w)),
    ],
    "Compose": [
        lambda h, w: Compose(Blur(0.6), Downsample(2, size=(h, w))),
        lambda h, w: Compose(Blur(kernel()), Mask(known(h, w))),
        lambda h, w: Compose(Identity(), Blur(0.6, boundary="zero"), Blur(kernel())),
    ],
}
MADE = [
    pytest.param(make, id=f"{name}-{k}")
    for name, makers in CASES.items()
    for k, make in enumerate(makers)
]
sides = st.integers(1, 9)
quick = settings(deadline=None, max_examples=15)


def test_every_operator_has_cases():
    assert set(CASES) == set(registry.names("operator"))
    assert all(issubclass(registry.find("operator", name), Operator) for name in CASES)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def dense(function, *size):
    """Return the matrix of a linear function of images of this size."""
    units = torch.eye(size[0] * size[1]).double().reshape(-1, *size)
    return function(units).flatten(1).T


@pytest.mark.parametrize("make", MADE)
@quick
@given(h=sides, w=sides, seed=st.integers(0, 99))
def test_adjoint(make, h, w, seed):
    A, x = make(h, w), normal(3, h, w, seed=seed)
    y = normal(*A(x).shape, seed=seed + 1)
    found, expected = (A(x) * y).sum(), (x * A.adjoint(y)).sum()
    assert A.adjoint(y).shape == x.shape
    assert abs(found - expected) <= 1e-10 * (1 + abs(expected))


@pytest.mark.parametrize("make", MADE)
@quick
@given(h=sides, w=sides, seed=st.integers(0, 99))
def test_linearity(make, h, w, seed):
    A, a, b = make(h, w), normal(1, h, w, seed=seed), normal(1, h, w, seed=seed + 1)
    torch.testing.assert_close(A(2 * a - 3 * b), 2 * A(a) - 3 * A(b), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (4, 6), (5, 3)])
@pytest.mark.parametrize("make", MADE)
def test_pinv_has_the_four_properties_of_moore_and_penrose(make, size):
    operator = make(*size)
    A = dense(operator, *size)
    P = dense(operator.pinv, *operator(torch.ones(*size).double()).shape[-2:])
    for found, expected in (
        (A @ P @ A, A),
        (P @ A @ P, P),
        ((A @ P).T, A @ P),
        ((P @ A).T, P @ A),
    ):
        torch.testing.assert_close(found, expected, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("make", MADE)
def test_batches_channels_and_planes_are_the_same(make):
    A, x = make(6, 5), normal(2, 3, 6, 5)
    for function, batch in ((A, x), (A.adjoint, A(x)), (A.pinv, A(x))):
        each = [function(picture) for picture in batch]
        torch.testing.assert_close(function(batch), torch.stack(each), atol=1e-8, rtol=1e-8)
        planes = torch.stack([function(batch[0, c : c + 1])[0] for c in range(3)])
        torch.testing.assert_close(each[0], planes, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("make", MADE)
def test_dtype_is_kept(make, dtype):
    A, x = make(6, 5), normal(1, 6, 5).to(dtype)
    loose = 8 * torch.finfo(dtype).eps
    for function, argument in ((A, x), (A.adjoint, A(x))):
        assert function(argument).dtype == dtype
        expected = function(argument.double()).to(dtype)
        torch.testing.assert_close(function(argument), expected, atol=4 * loose, rtol=loose)


@pytest.mark.parametrize("make", MADE)
def test_layout_does_not_matter_and_input_is_left_alone(make):
    A, x = make(6, 5), normal(3, 6, 5)
    turned, before = x.permute(1, 2, 0).contiguous().permute(2, 0, 1), x.clone()
    assert torch.equal(A(turned), A(x))
    assert torch.equal(A.adjoint(A(turned)), A.adjoint(A(x)))
    assert torch.equal(x, before)


@pytest.mark.parametrize("make", MADE)
def test_gradients_flow_and_are_the_adjoint(make):
    A, x = make(6, 5), normal(1, 6, 5).requires_grad_()
    y = A(x)
    weight = normal(*y.shape, seed=1)
    y.backward(weight)
    torch.testing.assert_close(x.grad, A.adjoint(weight), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("make", MADE)
def test_what_was_kept_without_gradients_serves_those_who_want_them(make):
    A, x = make(6, 5), normal(1, 6, 5)
    with torch.inference_mode():
        A.adjoint(A(x))
    x.requires_grad_()
    A.adjoint(A(x)).sum().backward()
    assert torch.isfinite(x.grad).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("make", MADE)
def test_device_is_that_of_the_image(make):
    A, x = make(6, 5), normal(1, 6, 5)
    for function, argument in ((A, x), (A.adjoint, A(x)), (A.pinv, A(x))):
        torch.testing.assert_close(function(argument.cuda()).cpu(), function(argument))


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize(
    ("x", "message"),
    [
        (torch.ones(6), r"must be \(..., H, W\)"),
        (torch.ones(1, 0, 5), "not empty"),
        (torch.ones(1, 6, 5, dtype=torch.uint8), "divide 8-bit levels by 255"),
        ([[1.0]], "as_tensor"),
    ],
)
def test_what_is_no_image_names_the_mend(make, x, message):
    A = make(6, 5)
    for function in (A, A.adjoint, A.pinv):
        with pytest.raises(InputError, match=message):
            function(x)


# ---- solvers


def clean(channels=1, height=40, width=36):
    ramp = torch.linspace(0.2, 0.8, width).expand(channels, height, width).clone()
    ramp[:, 8:24, 10:26] = 0.9
    ramp[:, 20:32, 4:14] = 0.1
    return ramp


BLUR = Blur(1.2)
SOLVED = {
    "blur": BLUR,
    "motion": Blur(torch.eye(5).double() / 5),
    "small": Downsample(2),
    "blurred and small": Compose(Blur(0.8), Downsample(2)),
    "holes": Mask(torch.rand(40, 36, generator=generator(3)) < 0.6),
}


def observed(operator=BLUR, channels=1, seed=0):
    y = operator(clean(channels))
    return y + SIGMA * torch.randn(y.shape, generator=generator(seed))


def error(x):
    return float((x - clean(len(x))).square().mean())


@pytest.fixture(params=registry.names("restore"))
def solver(request):
    return registry.find("restore", request.param)


def test_signature_is_shared(solver):
    first, second, third, *rest = inspect.signature(solver).parameters.values()
    assert [first.name, second.name, third.name] == ["observed", "operator", "sigma"]
    assert third.default is None
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in rest)
    assert rest[-1].name == "progress"


@pytest.mark.parametrize("name", SOLVED)
def test_restored_is_nearer_than_observed_and_than_the_linear_baseline(solver, name):
    operator = SOLVED[name]
    y = observed(operator)
    start = operator.adjoint(y) * clean().numel() / y.numel()
    linear = error(registry.find("restore", "tikhonov")(y, operator, SIGMA))
    assert linear < error(start)
    found = error(solver(y, operator, SIGMA))
    assert found < 0.8 * linear or solver.__name__ == "tikhonov"


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_channels(solver, channels):
    y = observed(channels=channels)
    x = solver(y, BLUR, SIGMA)
    assert x.shape == y.shape
    assert x.dtype == torch.float32
    assert error(x) < 0.7 * error(y)


def test_batch_is_its_images_one_by_one(solver):
    batch = torch.stack([observed(seed=k) for k in range(2)])
    levels = torch.tensor([SIGMA, 2 * SIGMA])
    one_by_one = [solver(y, BLUR, float(s)) for y, s in zip(batch, levels, strict=True)]
    assert torch.equal(solver(batch, BLUR, levels), torch.stack(one_by_one))


def test_the_same_call_gives_the_same_bytes(solver):
    assert torch.equal(solver(observed(), BLUR, SIGMA), solver(observed(), BLUR, SIGMA))


def test_without_sigma_it_is_estimated(solver):
    y = observed()
    assert torch.equal(solver(y, BLUR), solver(y, BLUR, float(estimate_sigma(y))))


def test_without_noise(solver):
    y = BLUR(clean())
    x = solver(y, BLUR, 0)
    assert torch.isfinite(x).all()
    assert error(x) < 0.5 * error(y)


def test_a_shift_of_grey_goes_through(solver):
    y = observed()
    torch.testing.assert_close(
        solver(y + 0.5, BLUR, SIGMA), solver(y, BLUR, SIGMA) + 0.5, atol=2e-3, rtol=0
    )


def test_constant_images_stay(solver):
    flat = torch.full((1, 20, 20), 0.3)
    torch.testing.assert_close(solver(flat, BLUR, SIGMA), flat, atol=1e-3, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (8, 8)])
def test_small_images(solver, size):
    x = solver(torch.rand(1, *size, generator=generator(0)), BLUR, SIGMA)
    assert x.shape == (1, *size)
    assert torch.isfinite(x).all()


def test_progress_counts_to_all(solver):
    calls = []
    batch = torch.stack([observed(seed=k) for k in range(2)])
    solver(batch, BLUR, SIGMA, progress=lambda done, every: calls.append((done, every)))
    assert [done for done, _ in calls] == list(range(1, len(calls) + 1))
    assert {every for _, every in calls} == {len(calls)}


@pytest.mark.parametrize(
    ("y", "operator", "sigma", "message"),
    [
        (observed(), BLUR, 2, "pass 25/255"),
        (observed(), BLUR, -0.1, "sigma must be in"),
        (observed(), BLUR, float("nan"), "sigma must be finite"),
        (observed(), BLUR, torch.full((40, 36), 0.1), "not a map"),
        (observed() * 255, BLUR, 0.1, "divide 8-bit levels by 255"),
        (observed() * float("nan"), BLUR, 0.1, "observed must be finite"),
        (observed()[0], BLUR, 0.1, r"observed must be \(C, H, W\)"),
        (observed(), 1.2, 0.1, r"restore.Blur\(1.6\), got float"),
        (observed(), Mask(known(40, 35)), 0.1, r"the mask is \(40, 35\)"),
        (observed(), Mask(known(40, 36)), None, "pass it, 0 if there is no noise"),
        (observed(), Compose(BLUR, Mask(known(40, 36))), None, "pixels are unknown"),
        (observed(), Downsample(2, size=(70, 72)), 0.1, r"must have the size \(35, 36\)"),
    ],
)
def test_bad_input_names_the_mend(solver, y, operator, sigma, message):
    with pytest.raises(InputError, match=message):
        solver(y, operator, sigma)
