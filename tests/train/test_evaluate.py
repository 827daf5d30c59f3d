# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a module and of its integers, on tensors, data sets and loaders."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from codeq_compile.errors import InputError
from codeq_train import accuracy, evaluate, export, integer_accuracy, integer_outputs, predict
from codeq_train.evaluate import Data, float_figures, integer_figures
from tests.train.nets import ConvNet
from tests.train.runs import learn, prepared, task


@pytest.fixture(scope="module")
def data() -> tuple[Tensor, Tensor]:
    return task()


def test_balanced_accuracy_counts_every_class_alike() -> None:
    """Half of the spoken words are `unknown`: a model that always says so would look good."""
    scores = np.asarray([[2, 1], [2, 1], [5, 0], [9, 9]], np.int8)  # a tie goes to the first

    assert {"accuracy": 0.75, "balanced": 0.5} == accuracy(scores, np.asarray([0, 0, 0, 1]))


@pytest.mark.slow
def test_the_integers_are_as_accurate_as_the_fake_quantized_model(
    data: tuple[Tensor, Tensor],
) -> None:
    """The figure that the device will show."""
    model = learn()
    graph = export(model.eval())
    scores = integer_outputs(graph, data[0], batch_size=50)

    assert (len(data[0]), 3) == scores.shape
    assert integer_accuracy(graph, *data) == np.mean(scores.argmax(1) == data[1].numpy())
    assert abs(integer_accuracy(graph, *data) - evaluate(model, *data)) <= 0.02


@pytest.mark.parametrize("kind", ["dataset", "loader"])
def test_data_sets_and_loaders_give_what_tensors_give(
    kind: str, data: tuple[Tensor, Tensor]
) -> None:
    """A user's data rarely are two tensors."""
    dataset = TensorDataset(*data)
    given: Data = dataset if kind == "dataset" else DataLoader(dataset, batch_size=7)
    model = prepared().eval()
    graph = export(model)

    assert float_figures(model, *data) == float_figures(model, given)
    assert integer_figures(graph, *data) == integer_figures(graph, given)


def test_another_measure_sees_outputs_and_targets(data: tuple[Tensor, Tensor]) -> None:
    """An anomaly detector is judged by the area under a curve."""
    model = ConvNet().eval()
    expected = predict(model, data[0]).numpy()

    def measure(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        assert np.array_equal(expected, outputs)
        assert np.array_equal(data[1].numpy(), targets)
        return {"mine": 0.25}

    assert {"mine": 0.25} == float_figures(model, *data, measure=measure)


def test_inputs_without_targets_are_refused(data: tuple[Tensor, Tensor]) -> None:
    """With what is missing."""
    with pytest.raises(InputError, match="targets"):
        evaluate(ConvNet(), data[0])


def test_integers_of_a_model_that_was_not_exported_are_refused(data: tuple[Tensor, Tensor]) -> None:
    """`evaluate` takes the model, so everybody tries; the next step must be told."""
    with pytest.raises(InputError, match=r"not of a QuantizedModel: give what export\(model\)"):
        integer_accuracy(prepared(), *data)
    with pytest.raises(InputError, match="not of a QuantizedModel"):
        integer_outputs(prepared(), data[0])


def test_evaluation_keeps_the_mode(data: tuple[Tensor, Tensor]) -> None:
    """Validation between epochs must not switch off Dropout for the rest of training."""
    model: nn.Module = ConvNet().train()
    evaluate(model, *data)

    assert model.training
    assert torch.is_grad_enabled()
