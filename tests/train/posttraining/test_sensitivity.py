# SPDX-License-Identifier: Apache-2.0
"""What an error behind a layer does to the outputs, without labels."""

import torch
from torch import Tensor, nn

from codeq_train import QuantizedModel, set_quantization
from codeq_train.posttraining.sensitivity import output_sensitivity
from tests.train.nets import ConvNet, images, prepared


def sensitivity(net: nn.Module, *shape: int, repeats: int = 1) -> dict[str, Tensor]:
    ours: QuantizedModel = prepared(net.eval(), images(16, *shape))
    set_quantization(ours, weights=False, activations=False)
    batches = [(images(16, *shape),)] * repeats
    return output_sensitivity(ours, batches, generator=torch.Generator().manual_seed(0))


def test_it_is_the_squared_gain_of_a_linear_network() -> None:
    """Known in closed form there: the squared column of what follows, relative to the output."""
    net = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    found = sensitivity(net, 6, repeats=400)
    with torch.no_grad():
        y = net(images(16, 6))
        scale = y.var() * 3
        expected = net[1].weight.square().sum(0) / scale

    assert torch.allclose(expected, found["0"], rtol=0.15)
    assert torch.allclose(1 / scale.expand(3), found["1"], rtol=1e-4)


def test_channels_behind_a_closed_relu_do_not_count() -> None:
    """Errors below 0 are cut off; a floor keeps the layer from being given away."""
    net = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
    with torch.no_grad():
        net[0].bias[1] = -100.0
    found = sensitivity(net, 6)["0"]

    assert 0 < found[1] < 1e-3 * found.mean()


def test_every_layer_of_a_network_has_one_a_channel() -> None:
    """Layers are compared by them: without one a layer gets all bits, or none."""
    found = sensitivity(ConvNet(), 2, 9, 9)

    assert {"stem": 8, "dw": 8, "pw": 12, "classifier": 3} == {k: len(v) for k, v in found.items()}
    assert all((value > 0).all() and torch.isfinite(value).all() for value in found.values())


def test_positions_of_maxima_stand_for_the_values() -> None:
    """argmax has no gradient; what it is taken of has one."""

    class Chosen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x).argmax(1)

    torch.manual_seed(0)

    assert (sensitivity(Chosen(), 6)["layer"] > 1e-3).all()
