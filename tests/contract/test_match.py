"""What every matcher keeps to, over all registered names of the role ``match``."""

import inspect

import pytest
import torch

from gouache import registry, train
from gouache.check import InputError
from gouache.random import generator

NAMES = registry.names("match")
SHARED = ("query", "source", "patch", "k", "query_mask", "source_mask", "weight", "exclusion")
SHARED += ("guides",)


@pytest.fixture(params=NAMES)
def match(request):
    torch.manual_seed(0)  # what is random without an rng
    return registry.find("match", request.param)


@pytest.fixture
def weighs(match):
    return match.__name__ != "kdtree"


def picture(height=30, width=37, channels=3, seed=0):
    """Smooth, so that near patches look alike, and without two places alike."""
    rng = generator(seed)
    coarse = torch.rand(1, channels, 6, 6, generator=rng)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    return smooth + 0.02 * torch.rand(channels, height, width, generator=rng)


def squares(query, source, field, weight=None):
    """The distances that a field claims, by the definition."""
    p = field.patch
    out = torch.zeros_like(field.distance)
    for k, y, x in torch.cartesian_prod(*(torch.arange(n) for n in field.distance.shape)):
        v, u = field.place[k, y, x].tolist()
        e = (query[:, y : y + p, x : x + p] - source[:, v : v + p, u : u + p]).square()
        w = 1 if weight is None else weight[y : y + p, x : x + p]
        out[k, y, x] = (e * w).sum()
    return out


def test_signature_is_shared(match):
    found = inspect.signature(match).parameters
    assert tuple(found)[: len(SHARED)] == SHARED
    assert all(found[name].kind is found[name].KEYWORD_ONLY for name in tuple(found)[2:])


@pytest.mark.parametrize(("patch", "channels"), [(1, 3), (4, 1), (7, 3), (5, 9)])
def test_a_part_of_an_image_is_found_where_it_was(match, patch, channels):
    image = picture(channels=channels)
    field = match(image[:, 4:20, 6:30], image, patch=patch)
    assert field.place.dtype == torch.int32
    assert tuple(field.place.shape) == (1, 17 - patch, 25 - patch, 2)
    rows, cols = field.place[0].unbind(-1)
    there = (rows == torch.arange(4, 21 - patch)[:, None]) & (cols == torch.arange(6, 31 - patch))
    assert there.float().mean() > 0.97
    assert (field.distance[0][there] == 0).all()


def test_distances_are_those_of_the_definition(match):
    query, source = picture(14, 15), picture(17, 16, seed=1)
    field = match(query, source, patch=4, k=3)
    torch.testing.assert_close(field.distance, squares(query, source, field), atol=1e-5, rtol=1e-5)
    assert (field.distance[1:] >= field.distance[:-1]).all()


def test_neighbours_are_different_and_near(match):
    query, source = picture(14, 15), picture(17, 16, seed=1)
    field = match(query, source, patch=4, k=4)
    linear = field.place[..., 0] * 100 + field.place[..., 1]
    assert (linear.sort(0).values.diff(dim=0) > 0).all()
    exact = registry.find("match", "brute_force")(query, source, patch=4, k=4)
    assert field.distance.mean() < 1.1 * exact.distance.mean()


def test_a_self_match_is_not_the_patch_itself(match):
    image = picture()
    field = match(image, patch=5)
    rows, cols = field.place[0].unbind(-1)
    own = (rows == torch.arange(26)[:, None]) & (cols == torch.arange(33))
    assert not own.any()
    assert match(image, image, patch=5).distance.mean() < 0.01 * field.distance.mean()


def test_exclusion_is_kept(match):
    field = match(picture(), patch=5, k=2, exclusion=4)
    rows = (field.place[..., 0] - torch.arange(26)[:, None]).abs()
    cols = (field.place[..., 1] - torch.arange(33)).abs()
    assert torch.maximum(rows, cols).min() >= 4


def test_exclusion_of_most_of_the_image(match):
    field = match(picture(20, 20), patch=5, exclusion=12)
    rows, cols = field.place[0].unbind(-1)
    there = torch.arange(16)
    apart = torch.maximum((rows - there[:, None]).abs(), (cols - there).abs())
    far = torch.maximum(there, 15 - there)
    possible = (far[:, None] >= 12) | (far >= 12)
    assert torch.equal(rows >= 0, possible)
    assert (apart[possible] >= 12).all()


def test_nothing_to_look_up(match):
    field = match(picture(), query_mask=torch.zeros(30, 37, dtype=torch.bool))
    assert (field.place == -1).all()
    assert field.distance.isinf().all()


def test_masks_say_what_is_looked_up_and_what_may_be_copied(match):
    image = picture()
    query_mask = torch.zeros(30, 37, dtype=torch.bool)
    query_mask[10:15, 12:20] = True
    source_mask = torch.ones(30, 37, dtype=torch.bool)
    source_mask[8:18, 10:22] = False
    field = match(image, image, patch=5, query_mask=query_mask, source_mask=source_mask)
    looked = field.place[0, ..., 0] >= 0
    assert torch.equal(looked, query_mask[2:28, 2:35])
    assert torch.equal(looked, field.distance[0].isfinite())
    for v, u in field.place[0][looked].tolist():
        assert source_mask[v : v + 5, u : u + 5].all()


def test_guides_are_channels(match):
    query, source = picture(14, 15), picture(17, 16, seed=1)
    guide, other = picture(14, 15, 2, 3), picture(17, 16, 2, 4)
    rng = [generator(0) if "rng" in inspect.signature(match).parameters else None] * 2
    options = [{"rng": generator(0)} if r else {} for r in rng]
    one = match(query, source, patch=4, guides=(guide, other), **options[0])
    two = match(torch.cat([query, guide]), torch.cat([source, other]), patch=4, **options[1])
    assert torch.equal(one.place, two.place)


def test_weights_count_in_the_distance(match, weighs):
    query, source = picture(14, 15), picture(17, 16, seed=1)
    weight = torch.rand(14, 15, generator=generator(5))
    if not weighs:
        with pytest.raises(InputError, match="takes no weights"):
            match(query, source, weight=weight)
        return
    field = match(query, source, patch=4, weight=weight)
    torch.testing.assert_close(
        field.distance, squares(query, source, field, weight), atol=1e-5, rtol=1e-5
    )


def test_pixels_of_weight_0_do_not_matter(match, weighs):
    if not weighs:  # that it says so is tested above
        return
    image = picture()
    hole = torch.ones(30, 37)
    hole[12:15, 12:15] = 0
    spoilt = torch.where(hole == 0, torch.tensor(5.0), image)
    field = match(spoilt, image, patch=7, weight=hole)
    assert field.place[0, 10, 10].tolist() == [10, 10]
    assert field.distance[0, 10, 10] == 0


def test_bytes_are_the_same_for_any_number_of_threads(match):
    query, source = picture(80, 50), picture(90, 60, seed=1)
    seeded = "rng" in inspect.signature(match).parameters
    found = []
    for count in (1, 2):
        with train.threads(count):
            found.append(match(query, source, **({"rng": generator(3)} if seeded else {})))
    assert torch.equal(found[0].place, found[1].place)
    assert torch.equal(found[0].distance, found[1].distance)


def test_constant_images_and_images_of_one_patch(match):
    field = match(torch.full((1, 9, 9), 0.3), torch.full((1, 12, 9), 0.3), patch=4)
    assert (field.distance == 0).all()
    one = match(picture(7, 7), picture(7, 7), patch=7)
    assert one.place.tolist() == [[[[0, 0]]]]


def test_fewer_patches_than_neighbours(match):
    field = match(picture(7, 8), picture(7, 8), patch=7, k=3)
    assert (field.place[:2] >= 0).all()
    assert (field.place[2] == -1).all()
    assert field.distance[2].isinf().all()


def test_layout_does_not_matter(match):
    query, source = picture(14, 15), picture(17, 16, seed=1)
    turned = query.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    seeded = "rng" in inspect.signature(match).parameters
    found = [
        match(image, source, patch=4, **({"rng": generator(3)} if seeded else {}))
        for image in (query, turned, query.double())
    ]
    assert torch.equal(found[0].place, found[1].place)
    assert torch.equal(found[0].place, found[2].place)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"query": picture()[0]}, r"query must be a tensor \(C, H, W\)"),
        ({"query": picture().numpy()}, "got ndarray"),
        ({"query": (picture() * 255).to(torch.uint8)}, "divide 8-bit levels by 255"),
        ({"query": picture() * float("nan")}, "query must be finite"),
        ({"source": picture(channels=1)}, "same channels"),
        ({"patch": 31}, "patch must be at most the sides of query"),
        ({"patch": 0}, "patch must be"),
        ({"k": 0}, "k must be"),
        ({"exclusion": -1}, "exclusion must be"),
        ({"query_mask": torch.ones(5, 5, dtype=torch.bool)}, "query_mask must be bool"),
        ({"source_mask": torch.ones(30, 37)}, "source_mask must be bool"),
        ({"source_mask": torch.zeros(30, 37, dtype=torch.bool)}, "leaves no patch"),
        ({"guides": (picture(), picture(20, 20))}, "a guide must be as large as its image"),
    ],
)
def test_bad_input_names_the_mend(match, options, message):
    options = {"query": picture(), **options}
    with pytest.raises(InputError, match=message):
        match(options.pop("query"), options.pop("source", None), **options)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.ones(3, 3), "one a pixel of the query"),
        (-torch.ones(30, 37), "must not be negative"),
        (torch.full((30, 37), float("nan")), "weight must be finite"),
    ],
)
def test_bad_weights_name_the_mend(match, weighs, weight, message):
    with pytest.raises(InputError, match=message if weighs else "takes no weights"):
        match(picture(), weight=weight)
