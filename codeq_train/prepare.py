# SPDX-License-Identifier: Apache-2.0
"""From a float model to one that trains on its integers: activation grids, weight quantizers."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from codeq_compile.errors import InputError, ModelError
from codeq_compile.ir import Grid
from codeq_train.activations import ActivationQuantizer, Ranges
from codeq_train.capture import capture
from codeq_train.channels import keep_outputs
from codeq_train.config import ActivationConfig, LayerConfig, QuantConfig, parse_config
from codeq_train.export import convert
from codeq_train.landing import land
from codeq_train.layers import (
    Concat,
    Conv,
    GridRule,
    Input,
    Layer,
    Requantize,
    Scale,
    Softmax,
    Unary,
    Weighted,
)
from codeq_train.limits import check_ram, exact
from codeq_train.model import QuantizedModel, check_prepared
from codeq_train.quantizers import WeightQuantizer, make_quantizer
from codeq_train.quantizers.entropy import size_factor

# Weights that are all 1 are exact in two bits, but a bias has the steps of its weights: with 8 bits
# they are 127 times finer.
_ONES = LayerConfig(quantizer="lsq", bits=8, range="absmax", per_channel=False)


def prepare(
    model: nn.Module,
    example_input: Tensor | tuple[Tensor, ...],
    config: QuantConfig | None = None,
) -> QuantizedModel:
    """A copy of `model` that computes with quantized weights and activations.

    Parameters
    ----------
    model : nn.Module
        Float model, trained or not; it is not touched.
    example_input : float tensor of shape (batch, ...), or a tuple of them
        Real inputs: their shapes are captured, and the ranges of all activations are set from
        them, so that a few hundred samples are better than one.
    config : QuantConfig, optional

    Returns
    -------
    QuantizedModel
        In training mode.  Train it like any module: add `regularizer(model)` to the loss, give
        `parameter_groups(model, …)` to the optimizer, `freeze(model)` for the last phase, then
        `export(model.eval(), path)`.

    Raises
    ------
    UnsupportedOp
        Parts of the model have no integer form; all are listed.
    ModelError
        torch cannot trace the model, or it is, or holds, one that is already prepared.
    InputError
        The configuration is wrong, its target cannot count what is limited, values are not finite,
        or one sample is too few for the statistics of a BatchNorm.
    DoesNotFit
        The activations need more RAM than the budget has.
    """
    config = parse_config(msgspec.to_builtins(config or QuantConfig()))
    example = example_input if isinstance(example_input, tuple) else (example_input,)
    _check_unprepared(model)
    captured = capture(model, example)
    _check_values(captured.layers, example)
    layers = _separate_fixed_grids(captured.layers)
    grids = _attach_grids(layers, config, outputs=set(captured.outputs.values()))
    _attach_quantizers(layers, grids, config)
    prepared = QuantizedModel(layers, captured.outputs, config, structure=captured.structure)
    prepared.to(example[0].device)
    _check_statistics(prepared, samples=len(example[0]))
    calibrate(prepared, [example])
    # now, and not after hours of training, is the time to learn that a layer cannot be exported
    graph, _ = convert(prepared.eval())
    keep_outputs(prepared, graph)
    check_ram(prepared)
    if config.budgets.instructions is not None:
        exact(prepared)  # there may be no predictions for the target
    return prepared.train()


def _check_values(layers: Sequence[Layer], example: Sequence[Tensor]) -> None:
    """Tell weights from data: calibration meets only what both have led to."""
    names = [
        f'"{layer.origin.name}"'
        for layer in layers
        if not all(bool(x.isfinite().all()) for x in (*layer.parameters(), *layer.buffers()))
    ]
    if names:
        raise InputError(
            f"weights or statistics of {', '.join(names)} are not finite numbers: the training in "
            "float diverged, or its file is damaged; go back to an earlier checkpoint"
        )
    inputs = (layer.origin.name for layer in layers if isinstance(layer, Input))
    for name, x in zip(inputs, example, strict=True):
        if not x.isfinite().all():
            raise InputError(
                f'the example for input "{name}" holds values that are not finite numbers: leave '
                "such samples out, here and in training"
            )


def _check_unprepared(model: nn.Module) -> None:
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        if isinstance(module, QuantizedModel):
            what = f'its part "{name}"' if name else "the model"
            raise ModelError(
                f"{what} is already prepared: train it as it is, or prepare the float model anew"
            )


@torch.no_grad()
def calibrate(
    model: QuantizedModel,
    batches: Iterable[Tensor | tuple[Tensor, ...]],
    *,
    ranges: Ranges = "mse",
) -> None:
    """Set the ranges of all activations anew from data, and change nothing else.

    Activations stay float meanwhile.  A BatchNorm that has never been trained uses the statistics
    of each batch, so that the model is calibrated for the activations it will have.

    Parameters
    ----------
    model : QuantizedModel
    batches : iterable of float tensors of shape (batch, ...), or of tuples of them
        Real inputs.
    ranges : {"mse", "absmax", "percentile"}
        Grids with the least squared error, grids that reach every value, or all but one in 5,000.
    """
    grids = {layer.grid for layer in model.layers if layer.grid is not None}
    layers = [layer for layer in model.weighted() if layer.norm is not None]
    norms = [layer.norm for layer in layers if layer.norm is not None]
    momenta, was_training = [norm.momentum for norm in norms], model.training
    model.eval()
    for grid in grids:
        grid.observe()
    for layer, norm in zip(layers, norms, strict=True):
        layer.training = norm.is_fresh
        norm.momentum = 0.0
    for batch in batches:
        model(*(batch if isinstance(batch, tuple) else (batch,)))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    for grid in grids:
        grid.settle(ranges)
    model.train(was_training)


def _check_statistics(model: QuantizedModel, *, samples: int) -> None:
    """Refuse what gives a channel of an untrained BatchNorm only one value."""
    for layer in model.weighted():
        is_fresh = layer.norm is not None and layer.norm.is_fresh
        if is_fresh and samples * math.prod(layer.origin.shape[1:]) == 1:
            raise InputError(
                f'layer "{layer.origin.name}": its BatchNorm has never been trained, and one '
                "sample has no statistics: give a batch of real inputs"
            )


def set_quantization(model: QuantizedModel, *, weights: bool, activations: bool) -> None:
    """Switch fake quantization on or off, e.g. for a float warm-up or a float baseline."""
    for layer in model.layers:
        if isinstance(layer, Weighted):
            layer.enabled = weights
        if layer.grid is not None:
            layer.grid.enabled = activations


def freeze(model: QuantizedModel) -> None:
    """Begin the last phase: fix zeros, widths and gaps, and use BatchNorm's running statistics.

    From here on training sees the integers that will be exported: BatchNorm is a factor per channel
    and the bias stands on its own grid.  Call it for the last quarter of the epochs or so.  What is
    still above a budget is cut now, so that the last phase can make up for it.

    Raises
    ------
    ModelError
        The model was not prepared.
    DoesNotFit
        The budgets are missed by more than a reasonable cut; the message says what would help.
    """
    check_prepared(model, "freeze")
    for layer in model.weighted():
        if layer.quantizer is not None:
            layer.quantizer.freeze(layer.weight)
        layer.use_running_statistics = True
    land(model)


@torch.no_grad()
def reestimate_batchnorm(
    model: QuantizedModel, batches: Iterable[Tensor | tuple[Tensor, ...]]
) -> None:
    """Replace BatchNorm's running statistics by the mean over `batches`, with quantized weights.

    The weights are those of evaluation, and nothing is dropped out.
    Weights that flip between two levels late in training leave stale statistics behind.
    Source: Nagel et al., arXiv:2203.11086, section 4.
    """
    layers = [layer for layer in model.weighted() if layer.norm is not None]
    momenta = [layer.norm.momentum for layer in layers if layer.norm is not None]
    frozen = [layer.use_running_statistics for layer in layers]
    was_training = model.training
    model.eval()  # dropout and DiffQ's noise are no part of the network that is exported
    for layer in layers:
        layer.training = True
    for number, batch in enumerate(batches):
        for layer in layers:
            layer.use_running_statistics = False
            assert layer.norm is not None
            layer.norm.momentum = 1.0 / (number + 1)  # a running mean over the batches
        model(*(batch if isinstance(batch, tuple) else (batch,)))
    for layer, momentum, was_frozen in zip(layers, momenta, frozen, strict=True):
        assert layer.norm is not None
        layer.norm.momentum, layer.use_running_statistics = momentum, was_frozen
    model.train(was_training)


def _separate_fixed_grids(layers: Sequence[Layer]) -> list[Layer]:
    """Concat needs one grid: what has a grid that must not change is requantized before it."""
    makers: dict[str, Layer] = {layer.origin.name: layer for layer in layers}
    result: list[Layer] = []
    for layer in layers:
        if isinstance(layer, Concat):
            sources = []
            for number, name in enumerate(layer.origin.inputs):
                maker = _grid_maker(makers, name)
                if isinstance(maker, Input) or maker.rule is GridRule.FIXED:
                    own = replace(
                        layer.origin,
                        name=f"{layer.origin.name}.requantize{number}",
                        inputs=(name,),
                        shape=makers[name].origin.shape,
                    )
                    result.append(Requantize(own))
                    name = own.name
                sources.append(name)
            layer.origin = replace(layer.origin, inputs=tuple(sources))
        result.append(layer)
    return result


def _grid_maker(makers: Mapping[str, Layer], name: str) -> Layer:
    """The layer whose grid a tensor is on."""
    layer = makers[name]
    while layer.rule in {GridRule.SAME, GridRule.NONE} and layer.origin.inputs:
        layer = makers[layer.origin.inputs[0]]
    return layer


def _attach_grids(
    layers: Sequence[Layer], config: QuantConfig, *, outputs: Collection[str]
) -> dict[str, ActivationQuantizer]:
    """One quantizer for each set of tensors that must share a grid; returns it by tensor name."""
    config.check_inputs(layer.origin.name for layer in layers if isinstance(layer, Input))
    learn = config.activations.learn
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for layer in layers:
        name = layer.origin.name
        parent[name] = name
        if layer.rule in {GridRule.SAME, GridRule.NONE}:
            for source in layer.origin.inputs:
                parent[root(source)] = root(name)

    signs = _non_negative(layers)
    members: dict[str, list[Layer]] = {}
    for layer in layers:
        members.setdefault(root(layer.origin.name), []).append(layer)
    given = {key: _fixed_grid(group, config) for key, group in members.items()}
    free = [
        key
        for key, group in members.items()
        if given[key] is None and not any(isinstance(layer, Input) for layer in group)
    ]
    config.check_activations(layer.origin.name for key in free for layer in members[key])
    grids = {
        key: ActivationQuantizer(
            non_negative=all(signs[layer.origin.name] for layer in group),
            learn=learn and key in free,
            fixed=given[key],
            bits=_activation_bits(group, config.activations, outputs) if key in free else 8,
        )
        for key, group in members.items()
    }
    for layer in layers:
        if layer.rule is not GridRule.NONE:
            layer.grid = grids[root(layer.origin.name)]
    return {layer.origin.name: grids[root(layer.origin.name)] for layer in layers}


def _activation_bits(
    group: Sequence[Layer], config: ActivationConfig, outputs: Collection[str]
) -> int:
    """Width of a grid that is free to have any: the widest that was given to a tensor on it."""
    names = [layer.origin.name for layer in group]
    given = [bits for name in names if (bits := config.bits_of(name)) is not None]
    default = 8 if any(name in outputs for name in names) else config.bits
    return max(given, default=default)


def _non_negative(layers: Sequence[Layer]) -> dict[str, bool]:
    signs: dict[str, bool] = {}
    for layer in layers:
        signs[layer.origin.name] = layer.non_negative([signs[n] for n in layer.origin.inputs])
    return signs


def _fixed_grid(group: Sequence[Layer], config: QuantConfig) -> Grid | None:
    """Grid that the user or an op dictates."""
    for layer in group:
        if isinstance(layer, Input) and layer.origin.name in config.inputs:
            given = config.inputs[layer.origin.name]
            return Grid(scale=float(np.float32(given.scale)), zero_point=given.zero_point)
        if isinstance(layer, Softmax | Unary) and layer.fixed is not None:
            return Grid(scale=layer.fixed[0], zero_point=layer.fixed[1])
    return None


def _attach_quantizers(
    layers: Sequence[Layer], grids: Mapping[str, ActivationQuantizer], config: QuantConfig
) -> None:
    """Quantizers for all weights; layers that share a parameter share its quantizer."""
    weighted = [layer for layer in layers if isinstance(layer, Weighted)]
    config.check_patterns(n.origin.name for n in weighted if not isinstance(n, Scale))
    largest = max((layer.weight.numel() for layer in weighted), default=1)
    shared: dict[int, WeightQuantizer] = {}
    for layer in weighted:
        key = id(layer.weight)
        if key not in shared:
            chosen = _ONES if isinstance(layer, Scale) else config.layer(layer.origin.name)
            shared[key] = make_quantizer(layer.weight, chosen)
            # depthwise weights are stored dense: zeros save nothing there
            is_dense = isinstance(layer, Conv) and layer.is_depthwise
            factor = 0.0 if is_dense else size_factor(layer.weight.numel(), largest)
            shared[key].size_factor = factor
        layer.attach(shared[key], grids[layer.origin.inputs[0]], config.table_format)
