# SPDX-License-Identifier: Apache-2.0
"""The exported graph as a whole: names, outputs, files, refusals."""

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_compile.errors import InputError, ModelError, UnsupportedOp
from codeq_compile.ir import load, serial, show
from codeq_train import export, prepare, set_quantization
from tests.train.nets import ConvNet, convnet, images, prepared


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """Builds are compared by hash."""
    ours = convnet()
    export(ours, tmp_path / "a.cq", name="net", labels=["x", "y", "z"])
    export(ours, tmp_path / "b.cq", name="net", labels=["x", "y", "z"])

    assert (tmp_path / "a.cq").read_bytes() == (tmp_path / "b.cq").read_bytes()


def test_the_file_holds_the_graph_that_was_returned(tmp_path: Path) -> None:
    """Python and the command line go on from the same model."""
    graph = export(convnet(), tmp_path / "net.cq", name="net")

    assert show(graph) == show(load(tmp_path / "net.cq"))
    assert serial.digest(graph) == serial.digest(load(tmp_path / "net.cq"))


def test_names_are_those_of_the_model() -> None:
    """The emitted C is read with the user's layer names in its banners."""
    graph = export(convnet(), labels=("a", "b", "c"))

    assert ["stem", "dw", "pw", "mean", "classifier"] == [node.name for node in graph.nodes]
    assert (("x",), ("output",)) == (graph.inputs, graph.outputs)
    assert ("a", "b", "c") == graph.labels


def test_several_outputs_have_names() -> None:
    """They become arguments of the C function."""
    graph = export(
        prepared(lambda x: {"low": torch.tanh(x), "high": torch.sigmoid(x)}, images(4, 6))
    )

    assert ("low", "high") == graph.outputs


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: (y := torch.tanh(x), y), "returned twice|same tensor"),
        (lambda x: (torch.tanh(x), x), "input as it came"),
    ],
)
def test_outputs_that_are_not_computed_once_are_refused(function: object, message: str) -> None:
    """Each output is a buffer of its own that the model writes."""
    with pytest.raises(UnsupportedOp, match=message):
        prepared(function, images(4, 6))


def test_a_model_that_was_not_prepared_is_refused() -> None:
    """It has no integers."""
    with pytest.raises(ModelError, match="prepare the whole network"):
        export(ConvNet())
    with pytest.raises(ModelError, match="prepare the whole network"):
        export(nn.Sequential(convnet(), nn.Softmax(1)))


def test_training_mode_is_refused() -> None:
    """Exporting in the middle of training is almost always a forgotten eval()."""
    with pytest.raises(ModelError, match=r"model\.eval\(\)"):
        export(prepare(ConvNet(), images(8, 2, 9, 9)))


def test_float_layers_are_listed() -> None:
    """A float warm-up that never ended must not be exported."""
    ours = convnet()
    set_quantization(ours, weights=False, activations=True)

    with pytest.raises(UnsupportedOp) as raised:
        export(ours)

    assert 4 == len(raised.value.reasons)
    assert all("switched off" in reason for reason in raised.value.reasons)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 200.0, -200.0])
def test_a_model_that_diverged_names_all_its_layers(value: float) -> None:
    """Whoever reads that NaN is no integer does not learn which layer, nor what to do."""
    ours = convnet()
    with torch.no_grad():
        ours.body.pw.grid.log_scale.fill_(value)  # 200: a step of e^200, which is no float32
        ours.body.classifier.weight[0, 0] = math.nan
        ours.body.dw.norm.variance[1] = math.inf

    with pytest.raises(ModelError, match="training diverged") as raised:
        export(ours)

    message = str(raised.value)
    assert '"dw", "pw", "classifier"' in message
    assert '"stem"' not in message
    assert "learning rate" in message


def test_labels_must_fit_the_output() -> None:
    """A wrong list would name the wrong class."""
    with pytest.raises(InputError, match="2 labels were given for 3 outputs"):
        export(convnet(), labels=["a", "b"])


@pytest.mark.parametrize("labels", [[3, 4, 5], "abc", ["a", "b", None]])
def test_labels_must_be_strings(labels: object) -> None:
    """They become C strings; the classes' numbers are given instead of their names easily."""
    with pytest.raises(InputError, match="labels must be a list of strings"):
        export(convnet(), labels=labels)


def test_all_reasons_of_the_layout_come_at_once() -> None:
    """With the layer's name and the user's line."""

    def scrambled(x: Tensor) -> tuple[Tensor, Tensor]:
        y = F.max_pool2d(x, 1).permute(0, 2, 3, 1)
        return F.max_pool2d(y, 1), torch.softmax(y, 2)

    with pytest.raises(UnsupportedOp) as raised:
        prepared(scrambled, images(2, 3, 4, 5))

    assert 2 == len(raised.value.reasons)
    assert all("nets.py" in reason for reason in raised.value.reasons)
