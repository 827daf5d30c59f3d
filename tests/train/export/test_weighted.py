# SPDX-License-Identifier: Apache-2.0
"""Exported convolutions and linear layers give the integers that training saw."""

import pytest
import torch
from torch import Tensor, nn

from codeq_compile.errors import UnsupportedOp
from codeq_train import LayerConfig, QuantConfig, export, integer_distance, parse_config
from tests.train.nets import ConvNet, Residual, images, prepared, randomize_batchnorm

# A value may be rounded the other way where torch's float32 sum falls close to the middle between
# two steps, and where TFLite rounds twice: first to an integer, then by the right shift of n bits,
# which differs from rounding once for 2^-(n+1) of all values.
STEPS = 1
SHARE = 0.15


def check(model: nn.Module, *inputs: Tensor, bits: int = 4) -> None:
    ours = prepared(model, *inputs, config=QuantConfig(weights=LayerConfig(bits=bits)))

    distances = integer_distance(ours, *inputs)

    assert max(d.steps for d in distances) <= STEPS, distances
    assert max(d.share for d in distances) <= SHARE, distances


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_every_layer_is_at_most_one_step_from_its_integers(bits: int) -> None:
    """What was trained and validated in torch is what the device computes."""
    torch.manual_seed(bits)
    model = ConvNet()
    randomize_batchnorm(model)

    check(model, images(64, 2, 9, 9), bits=bits)


def test_residuals_with_in_place_operations_are_exact_to_one_step() -> None:
    """Both inputs of the sum have grids of their own."""
    model = Residual()
    randomize_batchnorm(model)

    check(model, images(32, 3, 8, 8))


# torch says that it copies the input: that it pads unevenly is what is tested
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")  # one of the cases
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2)), (8, 4, 9, 9)),
        (nn.Conv2d(4, 6, 4, padding="same"), (8, 4, 7, 7)),
        (nn.Conv2d(4, 8, 3, groups=2, padding=1), (8, 4, 7, 7)),
        (nn.Conv2d(4, 8, 3, groups=4, padding=1), (8, 4, 7, 7)),
        (nn.Conv1d(6, 8, 5, stride=2, padding=2), (8, 6, 31)),
        (nn.Conv1d(6, 6, 4, groups=6, padding="same"), (8, 6, 31)),
        (nn.Linear(9, 5, bias=False), (32, 9)),
        (nn.Sequential(nn.Linear(9, 8), nn.BatchNorm1d(8), nn.ReLU6()), (32, 9)),
        (nn.Sequential(nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1)), (16, 4, 5, 5)),
    ],
    ids=str,
)
def test_every_geometry_survives_the_change_of_layout(
    layer: nn.Module, shape: tuple[int, ...]
) -> None:
    """Channels come last on the device: weights, padding and strides must follow."""
    randomize_batchnorm(layer)

    check(layer, images(*shape), bits=8)


def test_columns_of_a_linear_layer_follow_the_flattened_image() -> None:
    """torch flattens (c, h, w), the device (h, w, c); no transpose may remain."""
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(3 * 4 * 5, 6))
    x = images(16, 2, 4, 5)
    ours = prepared(model, x)

    graph = export(ours)

    assert ["conv2d", "reshape", "linear"] == [node.op.kind for node in graph.nodes]
    check(model, x)


def test_a_shared_layer_is_exported_where_it_is_called() -> None:
    """Each call has its own requantization."""
    linear = nn.Linear(6, 6)

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = linear

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(torch.relu(self.linear(x)))

    check(Twice(), images(64, 6), bits=8)


def test_linear_layers_work_on_rows() -> None:
    """A sequence (length, features) goes through row by row."""
    ours = prepared(nn.Linear(6, 4), images(8, 5, 6))

    graph = export(ours)

    assert (5, 4) == graph.tensors["output"].shape


def test_rows_across_memory_are_refused() -> None:
    """A linear layer over the columns of an image would need a transpose."""
    weight = nn.Linear(5, 4)

    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.linear = nn.Conv2d(2, 3, 1), weight

        def forward(self, x: Tensor) -> Tensor:
            return self.linear(self.conv(x))

    with pytest.raises(UnsupportedOp, match="row by row"):
        prepared(Across(), images(4, 2, 3, 5))


@pytest.mark.parametrize(("tables", "bits"), [("wide", 31), ("narrow", 13), ("compact", 5)])
def test_multipliers_have_the_bits_that_were_asked_for(tables: str, bits: int) -> None:
    """Bytes a channel against precision: the user's choice."""
    config = parse_config({"tables": tables})
    graph = export(prepared(nn.Linear(4, 3), images(4, 4), config=config))

    assert bits == graph.nodes[0].op.multiplier_bits


def test_a_batchnorm_on_its_own_is_as_exact_as_one_that_folds() -> None:
    """Its bias must not stand on steps as coarse as its input's."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.BatchNorm2d(4))
    randomize_batchnorm(model)
    x = images(32, 3, 8, 8)

    distances = {d.layer: d for d in integer_distance(prepared(model, x), x)}

    # 7 bits of the factor are a right shift: rounding twice differs for 2^-8 of all values
    assert distances["2"].steps <= STEPS
    assert distances["2"].share <= 0.01


@pytest.mark.parametrize("permuted", [False, True])
def test_distances_know_the_order_in_memory(permuted: bool) -> None:
    """Linear layers along a sequence keep torch's order: compared as images, all would differ."""

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv1d(6, 4, 1), nn.Linear(4 if permuted else 5, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.first(x) if permuted else x
            return self.second(y.transpose(1, 2) if permuted else y)

    check(Sequence(), images(32, 6, 5))


def test_distances_are_found_when_integers_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison itself must be able to fail."""
    ours = prepared(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2)), images(32, 6))
    first = next(ours.weighted())
    plain = first.compute
    monkeypatch.setattr(first, "compute", lambda x: 1.2 * plain(x))

    distances = {d.layer: d for d in integer_distance(ours, images(32, 6))}

    assert distances["0"].steps > STEPS
    assert distances["1"].steps <= STEPS
