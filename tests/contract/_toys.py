"""Toy models and images for the tests of the training loop: a GAN, a VAE, 8x8 pixels.

Notation: ``x`` images, ``z`` latents (B, 4), ``keys`` one a sample.
"""

import torch
from torch import nn
from torch.nn import functional as F

from gouache import random
from gouache.contracts import Trainable
from gouache.generate import Diffusion, DiffusionConfig


class Blobs:
    """Bright discs on dark ground, ``(N, 1, 8, 8)``, with labels: which half they lie in."""

    def __init__(self, count=40):
        rows = torch.arange(8.0)
        cx, cy = 1.5 + 5 * torch.rand(2, count, 1, 1, generator=random.generator(3))
        distance = (rows - cx) ** 2 + (rows[:, None] - cy) ** 2
        self.images = torch.exp(-distance / 4)[:, None]
        self.labels = (cx > 4).flatten().long()

    def __len__(self):
        return len(self.images)

    def batch(self, indices):
        return {"image": self.images[indices], "label": self.labels[indices], "index": indices}


class ToyGAN(Trainable):
    """A generator and a critic, each with a convolution, dropout in the critic."""

    phases = ("critic", "generator")

    def __init__(self, dropout=0.0):
        super().__init__()
        self.generator = nn.Sequential(
            nn.Linear(4, 128),
            nn.SiLU(),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 2, stride=2),
        )
        self.critic = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(128, 1),
        )
        self.register_buffer("seen", torch.zeros(()))

    def parameter_groups(self):
        return {phase: list(getattr(self, phase).parameters()) for phase in self.phases}

    def prepare(self, batch):
        with torch.no_grad():
            self.generator[-1].bias.fill_(batch["image"].mean())

    def training_losses(self, batch, rng):
        x = batch["image"]
        z = random.keyed_normal(random.batch_keys(rng, batch), (4,)).to(x)
        self.seen += 1
        fake = self.generator(z).detach()
        yield "critic", (F.softplus(-self.critic(x)) + F.softplus(self.critic(fake))).mean()
        yield "generator", F.softplus(-self.critic(self.generator(z))).mean()


class ToyVAE(Trainable):
    """One convolution each way around four latents, with dropout in the decoder."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(128, 8)
        )
        self.decoder = nn.Sequential(
            nn.Linear(4, 128),
            nn.SiLU(),
            nn.Dropout(dropout),
            nn.Unflatten(1, (8, 4, 4)),
            nn.ConvTranspose2d(8, 1, 2, stride=2),
        )
        self.register_buffer("seen", torch.zeros(()))

    def training_losses(self, batch, rng):
        x = batch["image"]
        noise = random.keyed_normal(random.batch_keys(rng, batch), (4,)).to(x)
        self.seen += 1
        mean, log_var = self.encoder(x).chunk(2, dim=1)
        z = mean + (log_var / 2).exp() * noise
        error = (self.decoder(z) - x).square().flatten(1).sum(1)
        divergence = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1)
        yield "model", (error + divergence).mean()


def diffusion(dropout=0.0):
    """Return the tiny diffusion model with dropout."""
    config = Diffusion.tiny().config
    return Diffusion(DiffusionConfig(**{**vars(config), "dropout": dropout}))


MODELS = {"gan": ToyGAN, "vae": ToyVAE, "diffusion": diffusion}


def build(name, dropout=0.0):
    """Return a toy with the weights of seed 0, leaving the global generator alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return MODELS[name](dropout)
