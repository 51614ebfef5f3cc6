"""Principal components of pixels, fitted once and frozen.

Notation: ``X`` ``(N, D)`` are the reference's flattened pixels, ``mu`` their mean, ``V`` ``(D, k)``
the eigenvectors of their covariance with the k largest eigenvalues.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache.check import InputError, count
from gouache.check import images as check_images
from gouache.contracts import Features
from gouache.registry import method


@method("features")
class PCA(Features):
    """Projection on the principal components of a reference set, ``f(x) = scale V^T (x - mu)``.

    Each component's sign is fixed by making its largest entry positive, so that the features
    depend on the reference alone.

    Args:
        reference: images ``(N, C, H, W)`` in [0, 1], N > ``components``, to which it is fitted.
        components: how many components k to keep.
        scale: factor on pixels; the Fréchet distance grows with its square (16 gives
            scikit-learn's digits their published levels 0..16).

    Raises:
        InputError: fewer images or pixels than components, or images of another shape.

    Reference:
        K. Pearson, "On Lines and Planes of Closest Fit to Systems of Points in Space", 1901.

    Example:
        >>> import torch
        >>> reference = torch.rand(50, 1, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> PCA(reference, 20)(reference).shape
        torch.Size([50, 20])
    """

    def __init__(self, reference: Tensor, components: int = 20, *, scale: float = 1.0) -> None:
        X = check_images(reference, "reference").flatten(1).double()
        count(components, "components")
        if components > min(len(X) - 1, X.shape[1]):
            raise InputError(
                f"{components} components need more than {components} reference images of at least "
                f"{components} pixels, got {len(X)} of {X.shape[1]}; give more images or pass "
                f"fewer components, features pca-{min(len(X) - 1, X.shape[1])}"
            )
        self.shape = tuple(reference.shape[1:])
        self.scale = scale
        self.mean = X.mean(0)
        self.basis = _basis(X - self.mean, components)
        self.name = f"pca-{components}" if scale == 1 else f"pca-{components} x{scale:g}"

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``(B, k)`` float32."""
        x = check_images(images)
        if tuple(x.shape[1:]) != self.shape:
            raise InputError(
                f"{self.name} was fitted to images {self.shape}, got {tuple(x.shape[1:])}; "
                "resize the images or fit PCA to images of this shape"
            )
        centred = x.flatten(1).double() - self.mean.to(x.device)
        return (self.scale * (centred @ self.basis.to(x.device))).float()


def _basis(X: Tensor, k: int) -> Tensor:
    """Return the k leading right singular vectors ``(D, k)``, by the smaller Gram matrix."""
    if X.shape[0] >= X.shape[1]:
        V = torch.linalg.eigh(X.T @ X).eigenvectors[:, -k:].flip(1)
    else:
        U = torch.linalg.eigh(X @ X.T).eigenvectors[:, -k:].flip(1)
        V = torch.linalg.qr(X.T @ U).Q
    largest = V.gather(0, V.abs().argmax(0, keepdim=True))
    return V * torch.where(largest < 0, -1.0, 1.0)
