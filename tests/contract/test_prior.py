"""What every prior keeps to: a density of patches, saved as a folder."""

import pytest
import torch

from gouache import pretrained, registry
from gouache.contracts import Pretrained
from gouache.random import generator

NAMES = registry.names("prior")


def patches(prior, n=20):
    return torch.rand(n, prior.config.patch**2, generator=generator(0))


@pytest.fixture(params=NAMES)
def prior(request):
    target = registry.find("prior", request.param)
    assert issubclass(target, Pretrained)
    return target.tiny()


def test_density_and_estimates_do_not_depend_on_the_batch(prior):
    x = patches(prior)
    for function in (prior.log_prob, lambda some: prior.map_estimate(some, 0.1)):
        parts = torch.cat([function(x[:1]), function(x[1:])])
        torch.testing.assert_close(parts, function(x), rtol=1e-4, atol=1e-5)


def test_folder_holds_all_of_it(prior, tmp_path):
    pretrained.save(prior, tmp_path / "prior")
    loaded, x = pretrained.load(tmp_path / "prior"), patches(prior)
    assert type(loaded) is type(prior)
    assert torch.equal(loaded.log_prob(x), prior.log_prob(x))


def test_smoothing_keeps_shape_and_a_constant(prior):
    flat = torch.full((2, 3, 12, 9), 0.3)
    torch.testing.assert_close(prior.smooth(flat, 0.1), flat)
