# SPDX-License-Identifier: Apache-2.0
"""Conversion goes on after a refusal, names are unique, in-place operations are seen."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import UnsupportedOp
from codeq_train.capture import capture
from codeq_train.layers import Layer
from tests.train.nets import Function, Residual, images


def layers(function: object, *inputs: Tensor) -> list[Layer]:
    module = function if isinstance(function, nn.Module) else Function(function)
    return capture(module, inputs).layers


class Refused(nn.Module):
    """Three layers without an integer form, and some that have one."""

    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(6, 8, batch_first=True)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        y, _ = self.recurrent(x)
        y = self.norm(y)
        return F.log_softmax(self.head(y), dim=1)


def test_all_reasons_come_at_once_with_layer_operation_line_and_way_out() -> None:
    """One refusal a run would cost the user as many runs as there are reasons."""
    with pytest.raises(UnsupportedOp) as raised:
        layers(Refused(), images(2, 5, 6))

    expected = [
        ("recurrent", "aten.gru.input", "convolutions over time"),
        ("norm", "aten.layer_norm.default", "BatchNorm"),
        ("log_softmax", "aten.log_softmax.int", "cross_entropy"),
    ]
    assert len(expected) == len(raised.value.reasons)
    for (name, operation, instead), reason in zip(expected, raised.value.reasons, strict=True):
        assert f'layer "{name}" ({operation})' in reason
        assert instead in reason
        assert "test_state.py:" in reason


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.relu(x).reshape(-1, 2), "batch dimension"),
        (lambda x: torch.softmax(x, 0), "over the batch"),
        (lambda x: x * x.shape[0], "known only at run time"),
        (lambda x: x @ torch.ones(4, 4), "no integer form"),
        (lambda x: torch.ones(2, 4), "not computed from the inputs"),
        (lambda x: F.max_pool1d(x[:, None], 2, return_indices=True)[1], "positions of maxima"),
    ],
)
def test_what_has_no_integer_form_is_refused(function: object, message: str) -> None:
    """A wrong network on the device would be worse than none."""
    with pytest.raises(UnsupportedOp, match=message):
        layers(function, images(2, 4))


def test_in_place_operations_are_seen_by_later_readers() -> None:
    """`z += y; F.relu_(z)` is how residual networks are written."""
    model = Residual()
    found = {layer.origin.name: layer for layer in layers(model, images(2, 3, 8, 8))}

    assert ["x", "first", "second", "add", "max_pool2d", "flatten", "head"] == [*found]
    assert (0.0, float("inf")) == found["add"].limits
    assert ("add",) == found["max_pool2d"].origin.inputs


def test_an_in_place_operation_counts_even_when_its_result_is_ignored() -> None:
    """`F.relu_(z)` alone on a line changes z for everything below."""

    def quiet(x: Tensor) -> Tensor:
        z = torch.sigmoid(x)
        F.hardswish(z, inplace=True)
        return torch.tanh(z)

    found = layers(quiet, images(2, 4))

    assert found[2].origin.name == found[3].origin.inputs[0]


def test_a_tensor_that_others_read_is_not_clamped_for_them() -> None:
    """A skip connection around a ReLU takes the values before it."""
    first, clamp, _ = layers(lambda x: torch.relu(x + 1.0) + (x + 1.0), images(2, 4))[1:4]
    model = nn.Linear(4, 4)
    shared = capture(
        Function(lambda x: (y := F.linear(x, model.weight)) + torch.relu(y)), (images(2, 4),)
    )

    assert (-float("inf"), float("inf")) == first.limits
    assert "Unary" == type(clamp).__name__
    assert all(layer.limits[0] == -float("inf") for layer in shared.layers)


def test_names_are_unique_and_those_of_the_users_modules() -> None:
    """The user finds the layer in the report."""
    act = nn.ReLU()
    names = [
        layer.origin.name
        for layer in layers(
            nn.Sequential(nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4), nn.Tanh()), images(2, 4)
        )
    ]
    twice = [n.origin.name for n in layers(lambda x: act(x) * act(x), images(2, 4))]

    assert ["input", "0", "1", "2", "3"] == names
    assert len(twice) == len(set(twice))


def test_sizes_read_at_run_time_are_no_layers() -> None:
    """`x.view(x.shape[0], -1)` is the usual way to flatten."""
    kinds = [
        type(n).__name__
        for n in layers(lambda x: torch.relu(x.view(x.size(0), -1)), images(2, 3, 4))
    ]

    assert ["Input", "Reshape", "Unary"] == kinds


def test_unused_layers_disappear() -> None:
    """An auxiliary head that is not returned costs nothing on the device."""

    def unused(x: Tensor) -> Tensor:
        torch.sigmoid(x)
        return torch.tanh(x)

    assert ["Input", "Unary"] == [type(n).__name__ for n in layers(unused, images(2, 4))]


def test_a_reason_is_told_once() -> None:
    """One line of the user's becomes several operations of torch's."""
    with pytest.raises(UnsupportedOp, match="slice") as raised:
        capture(Function(lambda x: x[:, :, 1:-1, 1:-1]), (images(2, 3, 8, 8),))

    assert 1 == len(raised.value.reasons)
