# SPDX-License-Identifier: Apache-2.0
"""What torch cannot trace is explained in the user's terms."""

import pytest
import torch
from torch import Tensor, nn

from codeq_compile.errors import ModelError, UnsupportedOp
from codeq_train.capture import capture
from tests.train.nets import Function, images


def branch(x: Tensor) -> Tensor:
    if x.sum() > 0:
        return torch.relu(x)
    return x


def test_control_flow_on_data_names_the_line_and_the_way_out(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The same layers run for every input on the device; torch's own report is pages long."""
    with pytest.raises(ModelError, match="control flow depends on data") as raised:
        capture(Function(branch), (images(2, 4),))

    assert "test_trace.py" in str(raised.value)
    assert "if x.sum() > 0" in str(raised.value)
    assert ("", "") == capfd.readouterr()


def test_a_fixed_batch_size_is_refused() -> None:
    """The device runs one sample at a time."""
    with pytest.raises(ModelError, match="fixes the batch size"):
        capture(Function(lambda x: torch.relu(x.reshape(2, 4))), (images(2, 4),))


def test_a_recurrent_layer_with_time_in_front_is_named() -> None:
    """torch takes its first axis for the batch: to flatten something would not help."""
    with pytest.raises(UnsupportedOp, match=r'layer "0" \(LSTM\): .*convolutions over time'):
        capture(nn.Sequential(nn.LSTM(4, 8)), (images(2, 5, 4),))


def test_branches_on_shapes_and_loops_are_unrolled() -> None:
    """They do not depend on data."""

    def deep(x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.sigmoid(x) if x.shape[1] == 4 else x
        return x

    assert 4 == len(capture(Function(deep), (images(2, 4),)).layers)


def test_a_model_that_leaves_torch_is_refused() -> None:
    """numpy cannot be compiled."""
    function = Function(lambda x: torch.from_numpy(torch.relu(x).numpy()))

    with pytest.raises(ModelError, match=r"cannot trace the model.*numpy"):
        capture(function, (images(2, 4),))


def test_lazy_layers_must_have_their_weights() -> None:
    """They have none before the first call."""
    with pytest.raises(ModelError, match="call it once first"):
        capture(nn.Sequential(nn.LazyLinear(3)), (images(2, 4),))


def test_only_float32_is_trained() -> None:
    """Scales are stored as float32: another type would train on another grid."""
    with pytest.raises(ModelError, match="not float32"):
        capture(nn.Linear(3, 3).double(), (images(2, 3).double(),))


@pytest.mark.parametrize("example", [(), (torch.zeros(()),), (torch.zeros(3),), ([1.0],)])
def test_the_example_must_be_a_batch_of_tensors(example: tuple[Tensor, ...]) -> None:
    """Shapes are learned from it."""
    with pytest.raises(ModelError, match="shape"):
        capture(nn.Linear(3, 3), example)


def test_a_batch_of_one_leaves_the_batch_open() -> None:
    """torch takes 1 for a constant unless it sees another size."""
    layers = capture(nn.Linear(3, 2), (images(1, 3),)).layers

    assert [(3,), (2,)] == [layer.origin.shape for layer in layers]


def test_an_example_without_samples_is_refused() -> None:
    """The ranges of all activations come from it."""
    with pytest.raises(ModelError, match="holds no samples"):
        capture(nn.Linear(4, 3), (images(0, 4),))


def test_an_example_of_a_wrong_shape_is_the_examples_fault() -> None:
    """Not a traceback from the depths of a library."""
    with pytest.raises(ModelError, match="does not run on the example"):
        capture(nn.Conv2d(1, 4, 3), (images(2, 3, 8, 8),))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.* is deprecated")  # users still have some
def test_what_is_not_a_module_is_refused() -> None:
    """A scripted model has no Python that could be traced."""
    scripted = torch.jit.script(nn.Linear(4, 3))

    for model in (scripted, torch.relu):
        with pytest.raises(ModelError, match="made from"):
            capture(model, (images(2, 4),))
