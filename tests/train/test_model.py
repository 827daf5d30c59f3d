# SPDX-License-Identifier: Apache-2.0
"""The prepared model behaves like any module."""

import copy
import io

import pytest
import torch
from torch import nn

from codeq_compile.errors import InputError
from codeq_train import QuantConfig, prepare
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


def test_evaluation_frees_tensors_after_their_last_use() -> None:
    """All activations of a large validation batch at once would not fit the memory."""
    x = images(2, 2, 9, 9)
    ours = prepared(ConvNet(), x)
    freed = [name for names in ours._last_use.values() for name in names]

    assert {layer.origin.name for layer in ours.layers} - {*freed} == {*ours.outputs.values()}
