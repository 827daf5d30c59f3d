# SPDX-License-Identifier: Apache-2.0
"""Quantization without training and without labels: calibration, rounding, corrected biases.

Layers are quantized in order.  Each one reproduces the float network's outputs from the inputs that
the quantized layers before it give, so that errors are made up for instead of piling up.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from codeq_compile.errors import DoesNotFit, InputError
from codeq_train.activations import Ranges
from codeq_train.config import LayerConfig, QuantConfig
from codeq_train.layers import Conv, Scale
from codeq_train.limits import exact
from codeq_train.model import QuantizedModel
from codeq_train.posttraining.adaround import AdaRound
from codeq_train.posttraining.bias_correction import correct_bias
from codeq_train.posttraining.entropy_rounding import DeadZone, Problem, solve
from codeq_train.posttraining.equalization import equalize
from codeq_train.posttraining.error_feedback import conditional_curvature, round_with_ranges
from codeq_train.posttraining.levels import Snapshot, install, level_set, write
from codeq_train.posttraining.reconstruction import Batch, Task, regression, walk
from codeq_train.posttraining.sensitivity import output_sensitivity
from codeq_train.prepare import calibrate, prepare, set_quantization

__all__ = ["AdaRound", "LayerResult", "Rounding", "quantize"]

Rounding = Literal["nearest", "adaround", "error_feedback"]

_PLACES = 1 << 14
"""Output places of a layer that its rounding looks at."""
_ATTEMPTS = 12
_AIM, _CLOSE, _TIGHT = 0.995, 0.99, 1.05
"""Share of a limit on bytes that is aimed at, and that ends the search; ratio of two prices that
are as good as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerResult:
    """What happened to one layer.

    Parameters
    ----------
    attempt : int
        From 1; with a limit on bytes the network is quantized several times.
    name : str
    bits, gap : int
    sparsity : float
        Share of zeros, in [0, 1].
    error_before, error_after : float
        Root mean square difference from the float network's outputs, in steps of the layer's output
        grid, what the layers before left included: with nearest rounding as configured, and as
        chosen.
    """

    attempt: int
    name: str
    bits: int
    gap: int
    sparsity: float
    error_before: float
    error_after: float


def quantize(
    model: nn.Module,
    batches: Tensor | Iterable[Tensor | Batch],
    config: QuantConfig | None = None,
    *,
    rounding: Rounding | AdaRound = "error_feedback",
    bias_correction: bool = True,
    equalization: bool = True,
    ranges: Ranges = "mse",
    on_layer: Callable[[LayerResult], None] | None = None,
    seed: int = 0,
) -> QuantizedModel:
    """A trained float model on integers, from a few hundred inputs without labels.

    Parameters
    ----------
    model : nn.Module
        Float model, trained; it is not touched.
    batches : float tensor of shape (batch, ...), or iterable of such, or of tuples of them
        Real inputs, all on one device; they are kept in memory with two layers' activations.
    config : QuantConfig, optional
        As for `prepare`; weights on a grid, "codeq" or "lsq".  With ``budgets.weights`` widths
        between `min_bits` and `bits`, gaps and zeros are chosen so that weights and tables fit.
    rounding : {"error_feedback", "adaround", "nearest"} or AdaRound
        Which level a weight takes: one that makes up for the errors so far (GPTQ), one of two that
        was learned, or the nearest.
    bias_correction : bool
        Take each channel's mean error out of its bias.
    equalization : bool
        Scale channels between two layers so that they share their grid better: see `equalize`.
    ranges : {"mse", "absmax", "percentile"}
        How the grids of activations are chosen: see `calibrate`.
    on_layer : callable, optional
        Called after each layer.
    seed : int
        Of everything random.

    Returns
    -------
    QuantizedModel
        In evaluation mode, ready for `export`; it can be trained further.

    Raises
    ------
    DoesNotFit
        Not even the smallest widths meet ``budgets.weights``.
    InputError
        No inputs, inputs of the wrong shape, or a configuration that only training can follow.
    ModelError, UnsupportedOp
        As from `prepare`.
    """
    parts = [batches] if isinstance(batches, Tensor) else batches
    data = [batch if isinstance(batch, tuple) else (batch,) for batch in parts]
    if not data:
        raise InputError("activations are calibrated with inputs: `batches` is empty")
    prepared = prepare(model, data[0], config)
    _check(prepared)
    if equalization:
        equalize(prepared.eval(), data)
    calibrate(prepared, data, ranges=ranges)
    method = AdaRound() if rounding == "adaround" else rounding
    run = _Run(prepared.eval(), data, method, bias_correction, on_layer, seed)
    limit = prepared.config.budgets.weights
    return run.attempt(0.0).model if limit is None else run.search(int(limit))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Attempt:
    """A quantized model, its bytes of weights and tables, and the cost of all its errors.

    Bytes are those of the linked image, and 0 where nothing limits them.
    """

    model: QuantizedModel
    bytes: int
    error: float


class _Run:
    """Quantizes the network at a price a bit, as often as a limit needs."""

    def __init__(
        self,
        prepared: QuantizedModel,
        data: Sequence[Batch],
        rounding: Rounding | AdaRound,
        bias_correction: bool,
        on_layer: Callable[[LayerResult], None] | None,
        seed: int,
    ) -> None:
        self.prepared, self.data, self.rounding = prepared, data, rounding
        self.bias_correction, self.on_layer, self.seed = bias_correction, on_layer, seed
        self.attempts = 0
        self.reference = copy.deepcopy(prepared)
        set_quantization(self.reference, weights=False, activations=False)
        self.sensitivity = output_sensitivity(self.reference, data, generator=self._generator())

    @torch.no_grad()
    def attempt(self, price: float) -> _Attempt:
        self.attempts += 1
        model, generator = copy.deepcopy(self.prepared), self._generator()
        rounded: set[int] = set()
        error = 0.0
        for task in walk(model, self.reference, self.data):
            layer, before = task.layer, task.error()
            # a BatchNorm's own ones are exact; shared weights are rounded where they come first
            if isinstance(layer, Scale) or id(layer.weight) in rounded:
                self._correct(task)
            else:
                rounded.add(id(layer.weight))
                start = Snapshot(model, layer)
                error += self._round(model, task, price, generator)
                self._correct(task)
                if price == 0.0:
                    self._keep_better(model, task, start)
            self._report(task, before)
        size = exact(model).amounts.get("weights", 0) if model.budget is not None else 0
        return _Attempt(model=model, bytes=size, error=error)

    def search(self, limit: int) -> QuantizedModel:
        """The network at the least price a bit that meets `limit`.

        In a network of given size a bit a weight quarters the error: from one price and its bytes
        follows the next.  Source: Gersho and Gray, Vector Quantization, chapter 8.
        """
        found = self.attempt(0.0)
        if found.bytes <= limit:
            return found.model
        weights = sum(layer.weight.numel() for layer in self.prepared.weighted())
        price = 2 * math.log(2.0) * found.error / weights
        low, high = 0.0, math.inf
        best: _Attempt | None = None
        while self.attempts < _ATTEMPTS and (best is None or best.bytes < _CLOSE * limit):
            if high < _TIGHT * low:
                break  # between these two prices a layer changes its width
            price *= 4.0 ** (8 * (found.bytes - _AIM * limit) / weights)
            if not low < price < high:
                price = math.sqrt(low * high) if low > 0.0 and high < math.inf else 16 * low
            found = self.attempt(price)
            if found.bytes > limit:
                low = price
                continue
            high = price
            if best is None or found.bytes > best.bytes:
                best = found
        if best is None:
            raise DoesNotFit(
                f"{found.bytes} bytes of weights and tables are left, {limit} are given: allow "
                "fewer bits (min_bits), remove channels, or give more"
            )
        return best.model

    def _round(
        self, model: QuantizedModel, task: Task, price: float, generator: torch.Generator
    ) -> float:
        layer = task.layer
        config = model.config.layer(layer.origin.name)
        seen = regression(task, places=_PLACES, generator=generator)
        gram, optimum = seen.normal(centred=self.bias_correction)
        feedback = self.rounding == "error_feedback"
        if feedback:
            curvature = conditional_curvature(gram)
        else:
            curvature = gram.diagonal(dim1=1, dim2=2)[:, None]
        sensitivity = self.sensitivity[layer.origin.name].reshape(len(seen.weight), -1, 1)
        importance = (sensitivity * seen.gain.mT.square()).clamp(min=1e-30)
        problem = Problem(
            weight=optimum if feedback else seen.weight,
            curvature=curvature,
            importance=importance,
            per_channel=config.per_channel,
            sparse=not (isinstance(layer, Conv) and layer.is_depthwise),
        )
        gaps = price > 0.0 and _learns_gap(config)
        solution = solve(problem, _bits(config, price), price, gaps=gaps)
        top_value = solution.top_value
        if feedback:
            values, top_value = round_with_ranges(problem, solution, gram)
        install(model, layer, solution.width, top_value)
        levels = level_set(layer)
        if isinstance(self.rounding, AdaRound):
            values = self.rounding.round(
                seen,
                seen.weight,
                levels,
                layer.limits,
                centred=self.bias_correction,
                generator=generator,
            )
        elif not feedback:
            values = DeadZone(levels=levels, price=solution.price)(seen.weight, curvature)
        write(layer, values)
        difference = values * levels.step - optimum
        missed = ((difference @ gram) * difference).sum(2, keepdim=True)
        return float((missed * importance).sum())

    def _correct(self, task: Task) -> None:
        if self.bias_correction:
            correct_bias(task)

    def _keep_better(self, model: QuantizedModel, task: Task, start: Snapshot) -> None:
        """A model of the error is not the error: nearest rounding stays where it is better."""
        chosen, error = Snapshot(model, task.layer), task.error()
        start.restore()
        self._correct(task)
        if error < task.error():
            chosen.restore()

    def _report(self, task: Task, before: float) -> None:
        if self.on_layer is None:
            return
        levels = task.layer.levels()
        self.on_layer(
            LayerResult(
                attempt=self.attempts,
                name=task.layer.origin.name,
                bits=levels.bits,
                gap=levels.gap,
                sparsity=float((levels.values() == 0).double().mean()),
                error_before=before,
                error_after=task.error(),
            )
        )

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


def _bits(config: LayerConfig, price: float) -> range:
    lowest = config.min_bits if price > 0 and _learns_bits(config) else config.bits
    return range(lowest, config.bits + 1)


def _learns_bits(config: LayerConfig) -> bool:
    return config.quantizer == "codeq" and config.learn_bits


def _learns_gap(config: LayerConfig) -> bool:
    return config.quantizer == "codeq" and config.learn_dead_zone


def _check(model: QuantizedModel) -> None:
    """Refuse what these methods cannot follow."""
    for layer in model.weighted():
        chosen = model.config.layer(layer.origin.name).quantizer
        if not isinstance(layer, Scale) and chosen not in ("codeq", "lsq"):
            raise InputError(
                f'layer "{layer.origin.name}": the quantizer "{chosen}" chooses its levels while '
                'it trains; without training use "codeq" or "lsq"'
            )
    budgets = model.config.budgets
    for name in ("flash", "instructions"):
        if budgets.limit(name) is not None:  # RAM is the compiler's to meet
            raise InputError(f"only training follows a budget for {name}: give one for weights")
