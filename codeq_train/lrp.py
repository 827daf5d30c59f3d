# SPDX-License-Identifier: Apache-2.0
"""Layer-wise relevance propagation through a prepared model, for ECQ^x; needs the extra `lrp`.

captum propagates relevance through layers; the relevance of a weight, which it does not know, is
found here from that of the layer's output.  Rules, as in ECQ^x (arXiv:2109.04236): convolutions z+
(alpha 1, beta 0, without bias), linear layers and everything that mixes tensors epsilon, activation
functions and grids pass.  BatchNorm is merged into the weights as on the device, so that z+ sees
the sign that a negative gamma gives.  What only moves values moves their relevance.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from codeq_compile.errors import InputError, ToolError
from codeq_train.layers import Conv, Input, Layer, Requantize, Softmax, Unary, Weighted
from codeq_train.model import QuantizedModel
from codeq_train.quantizers import EC2T, ECQ
from codeq_train.quantizers.relevance import Relevance

if TYPE_CHECKING:
    from captum.attr._utils.lrp_rules import PropagationRule

_EPSILON = 1e-6


def update_relevance(model: QuantizedModel, inputs: Tensor, targets: Tensor) -> None:
    """Tell the quantizers with ``relevance: lrp`` what matters; call it after each training step.

    It does something every 20th time, and nothing where no layer asks for it or all are frozen.

    Parameters
    ----------
    model : QuantizedModel
    inputs : float tensor of shape (batch, ...)
        Of this step.
    targets : int64 tensor of shape (batch,)
        The classes.

    Raises
    ------
    InputError
        The outputs are not one score for each class.
    ToolError
        captum is not installed.
    """
    asking = {
        layer.origin.name: relevance
        for layer in model.weighted()
        if (relevance := _asking(layer)) is not None
    }
    # layers that share their weights share the relevance
    due = [relevance for relevance in dict.fromkeys(asking.values()) if relevance.is_due()]
    if not due:
        return
    found = weight_relevance(model, inputs, targets)
    for relevance in due:
        values = [found[name] for name, each in asking.items() if each is relevance]
        relevance.observe(torch.stack(values).sum(0))


def _asking(layer: Weighted) -> Relevance | None:
    quantizer = layer.quantizer
    if not isinstance(quantizer, ECQ | EC2T) or quantizer.mask is not None:
        return None
    relevance = quantizer.assignment.relevance
    return relevance if relevance is not None and relevance.kind == "lrp" else None


def weight_relevance(model: QuantizedModel, inputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
    """Magnitude of the relevance of every weight, by layer: tensors of the weights' shape.

    ``|w · d/dŵ <z, R / (z + epsilon)>| / batch``, with the layer's output z, its relevance R, which
    starts as the score of the true class, and the latent weight w in front, because a pruned one
    would be irrelevant for ever.  Sums go over the batch and all positions.

    Constant factors of a layer do not matter to the quantizer: it is the relative relevance that
    counts.

    Parameters
    ----------
    model : QuantizedModel
        With one input; it is evaluated, with quantized weights and running statistics.
    inputs : float tensor of shape (batch, ...)
    targets : int64 tensor of shape (batch,)

    Raises
    ------
    InputError
        The outputs are not one score for each class.
    ToolError
        captum is not installed.
    """
    lrp = _captum()
    was_training = model.training
    model.eval()
    network = _Network(model)
    start = inputs.detach().clone().requires_grad_()
    with torch.enable_grad():
        scores = network(start)
        if scores.dim() != 2 or len(scores) != len(targets) or not scores.requires_grad:
            raise InputError(
                "relevance is propagated from the score of the true class: the model must give "
                f"scores of shape (batch, classes), not {tuple(scores.shape)}; "
                "use relevance fisher or taylor instead"
            )
        lrp(network).attribute(start, target=targets)
        share = scores.detach().gather(1, targets[:, None]).flatten() / len(targets)
        found = {step.name: step.weight_relevance(share) for step in network.products()}
    model.train(was_training)
    return found


def _captum() -> Any:
    try:
        from captum.attr import LRP
    except ImportError as error:
        raise ToolError(
            "relevance: lrp needs captum: pip install 'codeq-mcu[lrp]', "
            "or use relevance fisher or taylor"
        ) from error
    return LRP


class _Network(nn.Module):
    """The model as captum wants it: each operation that has a rule is a module without children."""

    def __init__(self, model: QuantizedModel) -> None:
        super().__init__()
        self._model = (model,)  # a tuple hides it from captum
        self.steps = nn.ModuleList(
            _Product(layer) if isinstance(layer, Weighted) else _Step(layer)
            for layer in model.layers
            if not isinstance(layer, (Input, *_PASSING))
        )

    def products(self) -> Iterator["_Product"]:
        return (step for step in self.steps if isinstance(step, _Product))

    def forward(self, x: Tensor) -> Tensor:
        (model,) = self._model
        steps, values = iter(self.steps), {}
        for layer in model.layers:
            if isinstance(layer, Input):
                values[layer.origin.name] = _passed(x, layer.finish(x))
                continue
            sources = [values[name] for name in layer.origin.inputs]
            if isinstance(layer, _PASSING):
                y = _passed(sources[0], layer.compute(*sources))
            else:
                y = next(steps)(*sources)
            values[layer.origin.name] = _passed(y, layer.finish(y))
        result: Tensor = next(values[name] for name in model.outputs.values())
        return result


_PASSING = (Unary, Softmax, Requantize)


def _passed(x: Tensor, y: Tensor) -> Tensor:
    """`y`, as far as relevance goes `x`."""
    return x + (y - x).detach() if y.is_floating_point() else y


class _Step(nn.Module):
    """An operation without weights."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self._layer = (layer,)
        self.rule = _epsilon()

    def forward(self, *inputs: Tensor) -> Tensor:
        return self._layer[0].compute(*inputs)


class _Product(nn.Module):
    """A layer with weights; captum's z+ changes `weight` and `bias` for a while."""

    def __init__(self, layer: Weighted) -> None:
        super().__init__()
        self._layer = (layer,)
        self.name = layer.origin.name
        with torch.no_grad():
            gain, bias = layer.folded()
            gain = gain.reshape(-1, *[1] * (layer.weight.dim() - 1))
            assert layer.quantizer is not None
            self.weight = nn.Parameter(layer.quantizer(layer.weight) * gain)
            self.bias = nn.Parameter(bias.clone())
            self.latent = layer.weight.detach() * gain
        self.rule = _positive() if isinstance(layer, Conv) else _epsilon()
        self._propagated = self.rule  # captum takes `rule` away when it is done
        self.x = torch.empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.x = x.detach()
        return self._layer[0].linear(x, self.weight, self.bias)

    def weight_relevance(self, share: Tensor) -> Tensor:
        """Tensor of the weights' shape, given each sample's share of the relevance."""
        output = self._propagated.relevance_output.get(self.x.device)
        if output is None:  # no way leads from here to the scores
            return torch.zeros_like(self.latent)
        z = self(self.x)
        sign = torch.where(z < 0, -1.0, 1.0)
        ratio = output / (z + _EPSILON * sign) * share.reshape(-1, *[1] * (z.dim() - 1))
        (gradient,) = torch.autograd.grad((z * ratio.detach()).sum(), self.weight)
        return (self.latent * gradient).abs()


def _epsilon() -> "PropagationRule":
    from captum.attr._utils.lrp_rules import EpsilonRule

    return EpsilonRule(_EPSILON)


def _positive() -> "PropagationRule":
    from captum.attr._utils.lrp_rules import Alpha1_Beta0_Rule

    return Alpha1_Beta0_Rule(set_bias_to_zero=True)
