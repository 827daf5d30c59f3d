# SPDX-License-Identifier: Apache-2.0
"""Convolutions, linear layers and BatchNorm, module or functional."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture import capture
from codeq_train.layers import Conv, Layer, Weighted
from tests.train.nets import images


def layers(module: nn.Module, x: Tensor) -> list[Layer]:
    return capture(module, (x,)).layers


# torch says that it copies the input: that it pads unevenly is what is tested
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # one of the cases
@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3),
        nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), bias=False),
        nn.Conv2d(4, 6, 4, padding="same"),
        nn.Conv2d(4, 8, 3, padding="valid", groups=2),
        nn.Conv2d(4, 8, 3, groups=4),
        nn.Conv1d(4, 6, 5, stride=2, padding=2),
        nn.Conv1d(4, 4, 4, padding="same", groups=4, dilation=2),
    ],
    ids=repr,
)
def test_every_geometry_of_a_convolution_is_kept(conv: nn.Module) -> None:
    """Stride, dilation, padding and groups must reach the device as they are."""
    x = images(2, 4, 12, 11) if isinstance(conv, nn.Conv2d) else images(2, 4, 23)

    (layer,) = (n for n in layers(conv, x) if isinstance(n, Conv))

    assert torch.allclose(conv(x), layer.compute(x), atol=1e-5)
    assert tuple(conv(x).shape[1:]) == layer.origin.shape


def test_functional_and_module_spelling_give_the_same_layers() -> None:
    """Users write both."""

    class Functional(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(images(4, 3, 3, 3))
            self.gamma, self.beta = nn.Parameter(torch.ones(4)), nn.Parameter(torch.zeros(4))
            self.register_buffer("mean", torch.zeros(4))
            self.register_buffer("var", torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            x = torch.conv2d(x, self.weight)
            x = F.batch_norm(x, self.mean, self.var, self.gamma, self.beta, self.training)
            return x.relu()

    (layer,) = layers(Functional(), images(2, 3, 6, 6))[1:]
    (module,) = layers(
        nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
        images(2, 3, 6, 6),
    )[1:]

    for found in (layer, module):
        assert isinstance(found, Conv)
        assert found.norm is not None
        assert (0.0, float("inf")) == found.limits


@pytest.mark.parametrize("momentum", [0.1, 0.3, None])
def test_batchnorm_keeps_its_constants(momentum: float | None) -> None:
    """eps and momentum are part of the trained network; None would never learn."""
    norm = nn.BatchNorm1d(3, eps=0.01, momentum=momentum, affine=False)
    (layer,) = (
        n
        for n in layers(nn.Sequential(nn.Linear(2, 3), norm), images(4, 2))
        if isinstance(n, Weighted)
    )

    assert layer.norm is not None
    assert (0.01, momentum or 0.1) == (layer.norm.eps, layer.norm.momentum)


class Reading(nn.Module):
    """A convolution whose output someone else reads before BatchNorm."""

    def __init__(self, join: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.conv, self.norm, self.join = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), join

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.join(self.norm(y), y)


def test_batchnorm_does_not_fold_where_others_read_the_layer() -> None:
    """They would see normalized values."""
    found = layers(Reading(torch.add), images(2, 3, 4, 4))

    assert ["Input", "Conv", "Scale", "Add"] == [type(n).__name__ for n in found]


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (nn.BatchNorm2d(3, track_running_stats=False), (2, 3, 4, 4), "track_running_stats"),
        (nn.BatchNorm1d(4), (2, 4), "must follow"),
        (nn.utils.parametrizations.weight_norm(nn.Linear(4, 2)), (2, 4), "weight_norm"),
        (nn.ConvTranspose2d(3, 3, 2), (2, 3, 4, 4), "nearest upsampling"),
    ],
    ids=["statistics", "alone", "weight_norm", "transposed"],
)
def test_weights_without_an_integer_form_are_refused(
    module: nn.Module, x: tuple[int, ...], message: str
) -> None:
    """Each with what to do."""
    with pytest.raises(UnsupportedOp, match=message):
        layers(module, images(*x))
