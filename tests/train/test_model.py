# SPDX-License-Identifier: Apache-2.0
"""The prepared model behaves like any module."""

import copy
import io
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn import functional as F

from codeq_compile.errors import InputError, ModelError
from codeq_train import QuantConfig, freeze, prepare, regularizer
from tests.train.nets import ConvNet, convnet, images, prepared


def test_layers_keep_their_names() -> None:
    """Reports, overrides and the emitted C speak of the user's own layers."""
    ours = convnet()

    assert ["stem", "dw", "pw", "classifier"] == [n.origin.name for n in ours.weighted()]
    assert "body.stem.weight" in ours.state_dict()
    assert ours.body.stem is next(ours.weighted())


def test_a_state_dict_restores_every_output_bit() -> None:
    """Training is resumed from checkpoints."""
    x = images(8, 2, 9, 9)
    torch.manual_seed(1)
    trained = prepared(ConvNet(), x)
    other = prepared(ConvNet(), x)

    other.load_state_dict(trained.state_dict())

    assert torch.equal(trained(x), other(x))


@pytest.mark.parametrize("frozen", [False, True])
def test_what_several_layers_share_is_stored_once(frozen: bool, tmp_path: Path) -> None:
    """safetensors refuses a tensor under two names, and with it the trainers that write it."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Conv2d(2, 2, 3, padding=1), nn.Conv2d(2, 2, 3, padding=1)
            self.second.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(F.max_pool2d(torch.relu(self.first(x)), 2))

    x = images(8, 2, 8, 8)
    ours, fresh = prepared(Tied(), x), nn.ModuleList([prepared(Tied(), x)])
    if frozen:
        freeze(ours)
    wrapped = nn.ModuleList([ours])
    save_file(wrapped.state_dict(), tmp_path / "model.safetensors")
    fresh.load_state_dict(load_file(tmp_path / "model.safetensors"))

    for layer, loaded in zip(ours.weighted(), fresh[0].weighted(), strict=True):
        assert layer.quantizer is not None
        assert loaded.quantizer is not None
        assert frozen == (loaded.quantizer.mask is not None)
    assert torch.equal(ours.eval()(x), fresh.eval()[0](x))


def test_copies_and_pickles_are_whole_and_independent() -> None:
    """`copy.deepcopy` keeps the best epoch, `torch.save` a whole model."""
    x = images(8, 2, 9, 9)
    ours = prepared(ConvNet(), x)
    expected = ours(x)
    twin = copy.deepcopy(ours)
    buffer = io.BytesIO()
    torch.save(ours, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.zero_()

    assert torch.equal(expected, twin(x))
    assert torch.equal(expected, loaded(x))
    assert next(twin.weighted()).input_grid is twin.inputs[0].grid


def test_outputs_come_in_the_users_structure() -> None:
    """A loss written for the float model must work unchanged."""
    x = images(4, 6)

    single = prepared(nn.Linear(6, 2), x)(x)
    pair = prepared(lambda x: (torch.relu(x), torch.tanh(x)), x)
    mapping = prepared(lambda x: {"a": torch.relu(x), "b": torch.tanh(x)}, x)

    assert isinstance(single, torch.Tensor)
    assert isinstance(pair(x), tuple)
    assert ["a", "b"] == list(mapping(x))
    assert ["a", "b"] == list(mapping.outputs)


def test_wrong_inputs_are_refused_by_name() -> None:
    """A transposed batch would otherwise fail deep inside a convolution."""
    ours = prepare(ConvNet(), images(2, 2, 9, 9), QuantConfig())

    with pytest.raises(InputError, match=r'input "x" must have shape \(batch, 2, 9, 9\)'):
        ours(images(2, 9, 9, 2))
    with pytest.raises(InputError, match="takes 1 inputs, not 2"):
        ours(images(2, 2, 9, 9), images(2, 2, 9, 9))
    with pytest.raises(InputError, match="an input is a tuple"):
        ours((images(2, 2, 9, 9),))


@pytest.mark.parametrize("what", ["log_scale", "zero"])
def test_a_model_that_diverges_in_training_names_its_layers(what: str) -> None:
    """The first step after a loss of NaN fails deep inside a grid, which has no name."""
    x = images(4, 2, 9, 9)
    ours = prepared(ConvNet(), x)
    with torch.no_grad():
        getattr(ours.body.classifier.grid, what).fill_(float("nan"))

    with pytest.raises(ModelError, match=r'training diverged: .* of "classifier" are not finite'):
        ours(x)


def test_evaluation_frees_tensors_after_their_last_use() -> None:
    """All activations of a large validation batch at once would not fit the memory."""
    x = images(2, 2, 9, 9)
    ours = prepared(ConvNet(), x)
    freed = [name for names in ours._last_use.values() for name in names]

    assert {layer.origin.name for layer in ours.layers} - {*freed} == {*ours.outputs.values()}


@pytest.mark.parametrize("function", [regularizer, freeze])
def test_a_model_that_was_not_prepared_is_refused_by_name(
    function: Callable[[nn.Module], object],
) -> None:
    """An AttributeError says neither what is wrong nor what to do."""
    message = rf"{function.__name__} needs the model that prepare\(\) returned, not a Linear"
    with pytest.raises(ModelError, match=message):
        function(nn.Linear(2, 3))

    function(torch.compile(convnet(), backend="eager"))  # hands attributes on
