"""What every method that fills holes keeps to, over all registered names of the role."""

import inspect

import pytest
import torch

from gouache import registry
from gouache.check import InputError
from gouache.random import generator
from gouache.train import threads

SIDES = (40, 48)


@pytest.fixture(params=registry.names("inpaint"))
def method(request):
    return registry.find("inpaint", request.param)


@pytest.fixture(scope="module")
def picture():
    """Return a ramp with a grating on it, in colour, and a little noise."""
    x, y = torch.linspace(0, 1, SIDES[1]), torch.linspace(0, 1, SIDES[0])[:, None]
    grating = 0.15 * (40 * x + 15 * y).sin()
    u = torch.stack([0.3 + 0.4 * x * y, 0.5 - 0.2 * y + 0 * x, 0.7 - 0.4 * x + 0 * y]) + grating
    return (u + 0.02 * torch.randn(3, *SIDES, generator=generator(0))).clamp(0, 1)


@pytest.fixture(scope="module")
def mask():
    """Return a hole in the middle that is no rectangle."""
    found = torch.zeros(SIDES, dtype=torch.bool)
    found[14:24, 16:30] = found[20:28, 20:24] = True
    return found


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["image", "mask"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])
    assert {"source", "patch", "rng", "progress"} <= {p.name for p in parameters}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_known_pixels_are_returned_bit_by_bit(method, picture, mask, dtype):
    u = picture.to(dtype) + 1e-9 * torch.rand(picture.shape, generator=generator(1), dtype=dtype)
    before = u.clone()
    found = method(u, mask, rng=generator(0))
    assert (found.dtype, found.shape) == (dtype, u.shape)
    assert torch.equal(found[:, ~mask], u[:, ~mask])
    assert torch.equal(u, before)
    assert found.isfinite().all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_the_fill_is_nearer_to_what_was_there_than_a_mean(method, picture, mask):
    found = method(picture, mask, rng=generator(0))
    mean = picture[:, ~mask].mean(1, keepdim=True)
    wrong, worse = (
        (x - picture[:, mask]).square().mean() for x in (found[:, mask], mean.expand(-1, 1))
    )
    assert wrong < 0.5 * worse


@pytest.mark.parametrize("within", ["white", "noise", "nan", "infinite", "levels"])
def test_what_is_in_the_hole_has_no_influence(method, picture, mask, within):
    values = {
        "white": torch.ones(()),
        "noise": torch.rand(3, *SIDES, generator=generator(2)),
        "nan": torch.tensor(torch.nan),
        "infinite": torch.tensor(-torch.inf),
        "levels": torch.tensor(255.0),
    }
    other = torch.where(mask, values[within], picture)
    expected = method(picture, mask, rng=generator(0))
    assert torch.equal(method(other, mask, rng=generator(0)), expected)


def test_a_batch_is_its_images_one_by_one(method, picture, mask):
    pair = torch.stack([picture, picture.flip(2)])
    masks = torch.stack([mask, mask.flip(0)])[:, None]
    found = method(pair, masks, rng=generator(0))
    for u, m, x in zip(pair, masks, found, strict=True):
        assert torch.equal(method(u, m[0], rng=generator(0)), x)
    shared = method(pair, mask, rng=generator(0))
    assert torch.equal(shared[0], found[0])
    assert torch.equal(shared[1], method(pair[1], mask, rng=generator(0)))


def test_of_a_batch_an_image_without_a_hole_stays(method, picture, mask):
    pair = torch.stack([picture, picture.flip(2)])
    masks = torch.stack([mask, torch.zeros_like(mask)])[:, None]
    found = method(pair, masks, rng=generator(0))
    assert torch.equal(found[1], pair[1])
    assert torch.equal(found[0], method(picture, mask, rng=generator(0)))


def test_a_soft_mask_blends_the_fill_of_all_of_it(method, picture, mask):
    soft = torch.where(mask, torch.rand(SIDES, generator=generator(3)).clamp(min=0.01), 0)
    filled = method(picture, mask, rng=generator(0))
    expected = (1 - soft) * picture + soft * filled
    found = method(picture, soft, rng=generator(0))
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert torch.equal(found[:, soft == 0], picture[:, soft == 0])


def stripes():
    """Return upright stripes, level ones on the right, a hole in the left, and where is right."""
    y, x = torch.meshgrid(torch.arange(SIDES[0]), torch.arange(SIDES[1]), indexing="ij")
    level, mask = x >= 24, torch.zeros(SIDES, dtype=torch.bool)
    mask[12:26, 6:18] = True
    return torch.where(level, y % 6 < 3, x % 6 < 3)[None].float(), mask, level


def test_no_step_at_the_rim_of_the_source_is_copied(method):
    """The source is light, in a frame of black that may not be copied."""
    u, mask = torch.zeros(1, *SIDES), torch.zeros(SIDES, dtype=torch.bool)
    u[:, 4:12, 4:12] = u[:, 18:, 18:] = 0.8
    mask[22:36, 22:40] = True
    source = torch.zeros_like(mask)
    source[4:12, 4:12] = True
    found = method(u, mask, source=source, rng=generator(0))
    torch.testing.assert_close(found, u, atol=1e-4, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32])
def test_only_the_source_is_copied(method, dtype):
    """A hole among upright stripes is filled with level ones, if these alone may be copied."""
    u, mask, level = stripes()
    for source, axis in ((None, 2), (~level, 2), (level, 1)):
        given = None if source is None else source.to(dtype)
        found = method(u, mask, source=given, rng=generator(0))[:, 14:24, 8:16]
        along, across = (found.diff(dim=k).abs().mean() for k in (3 - axis, axis))
        assert across > 3 * along


@pytest.mark.parametrize(
    "boxes",
    [
        [(5, 12, 5, 15), (25, 33, 30, 44), (3, 6, 40, 43)],
        [(0, 9, 10, 22)],
        [(30, 40, 38, 48)],
        [(0, 8, 0, 10)],
        [(0, 40, 20, 26)],
        [(17, 18, 21, 22)],
        [(0, 1, 0, 1)],
        [(39, 40, 0, 48)],
    ],
    ids=["several", "border", "corner", "first", "through", "pixel", "first-pixel", "last-row"],
)
def test_holes_anywhere(method, picture, boxes):
    mask = torch.zeros(SIDES, dtype=torch.bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    found = method(torch.where(mask, torch.nan, picture), mask, rng=generator(0))
    assert torch.equal(found[:, ~mask], picture[:, ~mask])
    assert found.isfinite().all()
    error = (found - picture)[:, mask].square().mean().sqrt()
    assert error < picture.std()


@pytest.mark.parametrize("size", [(2, 2), (1, 7), (5, 1), (3, 30), (6, 6), (8, 11)])
@pytest.mark.parametrize("at", [(0, 0), (-1, -1)])
def test_an_image_smaller_than_a_patch(method, size, at):
    u = torch.rand(1, *size, generator=generator(5))
    mask = torch.zeros(size, dtype=torch.bool)
    mask[at] = True
    found = method(u, mask, patch=9, rng=generator(0))
    assert torch.equal(found[:, ~mask], u[:, ~mask])
    assert 0 <= found[:, mask] <= 1
    flat = torch.full_like(u, 0.7).masked_fill(mask, torch.nan)
    found = method(flat, mask, patch=9, rng=generator(0))
    torch.testing.assert_close(found, torch.full_like(u, 0.7), atol=1e-6, rtol=0)


def test_of_a_single_pixel_there_is_nothing_to_copy(method):
    with pytest.raises(InputError, match="there is nothing to copy"):
        method(torch.full((1, 1, 1), 0.3), torch.ones(1, 1))
    one = torch.full((1, 1, 1), 0.3)
    assert torch.equal(method(one, torch.zeros(1, 1)), one)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_constant_image_stays_constant(method, mask, channels):
    colour = torch.linspace(0.2, 0.9, channels)[:, None, None]
    u = colour.expand(-1, *SIDES)
    found = method(torch.where(mask, torch.nan, u), mask, rng=generator(0))
    torch.testing.assert_close(found, u.contiguous(), atol=1e-5, rtol=0)


def test_a_hole_far_deeper_than_a_patch_is_filled_to_its_end(method):
    u, mask = torch.full((1, 10, 460), 0.3), torch.ones(10, 460)
    mask[:, :16] = 0
    found = method(u, mask, patch=5, rng=generator(0))
    torch.testing.assert_close(found, u, atol=1e-4, rtol=0)


@pytest.mark.parametrize("patch", [1, 2, 4, 5])
def test_any_patch(method, picture, mask, patch):
    found = method(picture, mask, patch=patch, rng=generator(0))
    assert torch.equal(found[:, ~mask], picture[:, ~mask])
    assert found.isfinite().all()


def test_one_free_pixel_fills_everything(method):
    u, mask = torch.rand(3, 12, 13, generator=generator(6)), torch.ones(12, 13)
    mask[4, 5] = 0
    found = method(u, mask, rng=generator(0))
    torch.testing.assert_close(found, u[:, 4:5, 5:6].expand_as(u), atol=1e-5, rtol=0)


def test_same_seed_same_bytes_at_one_thread_and_at_two(method, picture, mask):
    found = []
    for count in (1, 2, 2):
        with threads(count):
            found.append(method(picture, mask, rng=generator(7)))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[1], found[2])


def test_strides_do_not_matter(method, picture, mask):
    expected = method(picture, mask, rng=generator(0))
    turned = picture.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(method(turned, mask.T.contiguous().T, rng=generator(0)), expected)
    wide = torch.stack([picture, torch.ones_like(picture)], -1)[..., 0]
    assert torch.equal(method(wide, mask, rng=generator(0)), expected)


def test_no_gradient_is_carried_into_the_hole(method, picture, mask):
    u = picture.clone().requires_grad_()
    found = method(u, mask, rng=generator(0))
    assert torch.equal(found.detach(), method(picture, mask, rng=generator(0)))
    found.sum().backward()
    assert torch.equal(u.grad, (~mask).float().expand_as(u))


@pytest.mark.parametrize("images", [1, 2])
def test_progress_is_told(method, picture, mask, images):
    told = []
    batch = picture.expand(images, -1, -1, -1)
    method(batch, mask, rng=generator(0), progress=lambda *done: told.append(done))
    assert told
    assert told[-1][0] == told[-1][1]
    shares = [done / total for done, total in told]
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.full((1, 9, 9), torch.nan)}, "image must be finite"),
        ({"image": torch.full((1, 9, 9), 255.0)}, "divide 8-bit levels by 255"),
        ({"image": torch.ones(9, 9)}, r"image must be \(C, H, W\)"),
        ({"image": torch.ones(1, 9, 9, dtype=torch.uint8)}, "divide by 255"),
        ({"image": [[0.5]]}, "must be a torch tensor"),
        ({"mask": torch.ones(8, 9)}, r"mask must be \(9, 9\) or \(1, 1, 9, 9\), got \(8, 9\)"),
        ({"mask": None}, "mask must be .* got NoneType"),
        ({"mask": torch.ones(9, 9, dtype=torch.uint8)}, r"bool or float in \[0, 1\]"),
        ({"mask": torch.full((9, 9), torch.nan)}, "mask must be finite"),
        ({"mask": torch.full((9, 9), 255.0)}, r"mask must lie in \[0, 1\]"),
        ({"mask": torch.ones(9, 9)}, "there is nothing to copy"),
        ({"source": torch.ones(3, 3)}, r"source must be \(9, 9\)"),
        ({"source": torch.zeros(9, 9)}, "there is nothing to copy"),
        ({"patch": 0}, "patch must be at least 1"),
        ({"patch": 2.5}, "patch must be a whole number"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    hole = torch.zeros(9, 9)
    hole[4, 4] = 1
    with pytest.raises(InputError, match=message):
        method(**({"image": torch.ones(1, 9, 9), "mask": hole} | change))
