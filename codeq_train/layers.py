# SPDX-License-Identifier: Apache-2.0
"""The layers of a prepared model: what each computes while training, one class a kind of layer.

A layer knows where its inputs come from, its real limits (a fused activation) and how its output
gets an int8 grid.  `capture` makes layers, `prepare` gives them grids, `export` reads them.
"""

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from codeq_train.activations import NO_LIMITS, ActivationQuantizer, Limits
from codeq_train.autograd import round_half_away
from codeq_train.config import TABLE_FORMATS, TableFormat
from codeq_train.quantizers import Levels, WeightQuantizer
from codeq_train.tables import storable_bias, storable_factors

Shape = tuple[int, ...]

MAX_BIAS = float(1 << 30)
"""A bias of more steps than this belongs to a channel whose weights no longer matter."""


_FINE_MULTIPLIER = 13
"""Multipliers of so many bits change no output by more than 1/64 of a step."""


class GridRule(enum.Enum):
    """Where the int8 grid of a layer's output comes from."""

    OWN = "learned for this tensor"
    SAME = "the inputs' grid"
    FIXED = "dictated by the op"
    NONE = "not an int8 tensor, or the very same values"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a layer stands in the user's model.

    Parameters
    ----------
    name : str
        Layer name: the module path, with the op's name where the module has several.
    inputs : tuple of str
        Names of the tensors read; a layer's output is called like the layer.
    shape : tuple of int
        Torch shape of the output without the batch dimension.
    source : str
        Source line, for messages.
    """

    name: str
    inputs: tuple[str, ...]
    shape: Shape
    source: str


class Layer(nn.Module, ABC):
    """One operation of the captured model.

    Attributes
    ----------
    origin : Origin
    limits : tuple of float (low, high)
        Real limits of a fused activation.
    grid : ActivationQuantizer or None
        Grid of the output; None before `prepare` and where `rule` is NONE.
    """

    rule: GridRule = GridRule.OWN
    fuses_limits: ClassVar[bool] = False
    """A following relu-like clamp becomes part of the integer layer."""
    keeps_sign: ClassVar[bool] = False
    """Inputs that are never negative give an output that is never negative."""

    def __init__(self, origin: Origin) -> None:
        super().__init__()
        self.origin = origin
        self.limits: Limits = NO_LIMITS
        self.grid: ActivationQuantizer | None = None

    def non_negative(self, inputs: Sequence[bool]) -> bool:
        """Whether the output is never negative, given whether the inputs are."""
        return self.limits[0] >= 0.0 or (self.keeps_sign and all(inputs))

    @abstractmethod
    def compute(self, *inputs: Tensor) -> Tensor:
        """The float operation, before limits and grid."""

    @property
    def is_on_grid(self) -> bool:
        """What `compute` gives is on the grid already: nothing is left to round."""
        return False

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.finish(self.compute(*inputs))

    def finish(self, y: Tensor) -> Tensor:
        """What `compute` gave, within the limits and on the grid."""
        if y.dtype is torch.bfloat16:
            y = y.float()  # under autocast too, grids are met in float32
        if self.grid is not None and not self.is_on_grid:
            limited: Tensor = self.grid(y, self.limits)
            return limited
        return y if self.limits == NO_LIMITS else y.clamp(*self.limits)


class BatchNorm(nn.Module):
    """Parameters and statistics of a BatchNorm that belongs to the layer before it."""

    def __init__(
        self,
        *,
        gamma: Tensor | None,
        beta: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        momentum: float,
        eps: float,
    ) -> None:
        super().__init__()
        self.gamma = _parameter(gamma if gamma is not None else torch.ones_like(mean))
        self.beta = _parameter(beta if beta is not None else torch.zeros_like(mean))
        self.mean: Tensor
        self.variance: Tensor
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self.momentum, self.eps = momentum, eps

    def normalize(self, x: Tensor) -> Tensor:
        """With the batch's statistics; running statistics are updated."""
        return F.batch_norm(
            x, self.mean, self.variance, self.gamma, self.beta, True, self.momentum, self.eps
        )

    @property
    def is_fresh(self) -> bool:
        """No batch has been seen: the running statistics are still 0 and 1."""
        return bool((self.mean == 0).all() and (self.variance == 1).all())

    def gain(self) -> Tensor:
        """Factor per channel with the running statistics: tensor of shape (channels,)."""
        return self.gamma * torch.rsqrt(self.variance + self.eps)


def _parameter(value: Tensor) -> nn.Parameter:
    return value if isinstance(value, nn.Parameter) else nn.Parameter(value.detach().clone())


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Geometry of a convolution or pooling, in torch's order of spatial axes (1 or 2 of them).

    `padding` is (before, after) per axis.
    """

    kernel: Shape
    stride: Shape
    dilation: Shape
    padding: tuple[tuple[int, int], ...]

    @property
    def is_symmetric(self) -> bool:
        return all(before == after for before, after in self.padding)

    def pad(self, x: Tensor, value: float = 0.0) -> Tensor:
        """`x` with explicit borders."""
        flat = [n for axis in reversed(self.padding) for n in axis]
        return F.pad(x, flat, value=value) if any(flat) else x


class Weighted(Layer):
    """Convolution or linear layer with its bias, BatchNorm and activation.

    While training, BatchNorm sees the batch and stays outside the weights; in evaluation and in the
    last phase it is a factor per channel, exactly as the exported integers have it, and the bias is
    on its own grid too.
    """

    fuses_limits = True
    channel_axis: ClassVar[int] = -1
    """Of the output."""

    def __init__(self, origin: Origin, *, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__(origin)
        self.weight = _parameter(weight)
        self.bias = _parameter(bias) if bias is not None else None
        self.norm: BatchNorm | None = None
        self.quantizer: WeightQuantizer | None = None
        self.enabled = True
        self.use_running_statistics = False
        self.tables = TABLE_FORMATS["narrow"]
        # a tuple hides the module from torch: the input's grid belongs to the layer that makes it
        self._input: tuple[ActivationQuantizer, ...] = ()

    @property
    def channels(self) -> int:
        return len(self.weight)

    def attach(
        self, quantizer: WeightQuantizer, source: ActivationQuantizer, tables: TableFormat
    ) -> None:
        """Quantize the weights, and the bias to the input grid `source`."""
        self.quantizer, self.tables = quantizer, tables
        self._input = (source,)

    @property
    def input_grid(self) -> ActivationQuantizer:
        """Grid of the layer's input."""
        return self._input[0]

    @abstractmethod
    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """The product, given weights and bias."""

    def levels(self) -> Levels:
        """Quantized weights without the BatchNorm, as export stores them."""
        assert self.quantizer is not None
        return self.quantizer.levels(self.weight)

    def folded(self) -> tuple[Tensor, Tensor]:
        """(gain, bias) per channel with the running statistics, each of shape (channels,)."""
        own = self.bias if self.bias is not None else self.weight.new_zeros(self.channels)
        gain = torch.ones_like(own)
        if self.norm is not None:
            gain = self.norm.gain()
            own = self.norm.beta + (own - self.norm.mean) * gain
        alive = self._alive_channels()
        return gain, own if alive is None else own * alive

    def _alive_channels(self) -> Tensor | None:
        """Of `WeightQuantizer.alive_channels`: a pruned channel is 0, and not its bias.

        A constant would have to be stored: where a convolution pads what it reads, only a channel
        of zeros can leave the network.
        """
        if self.quantizer is None or not self.enabled:
            return None
        return self.quantizer.alive_channels(self.weight)

    def stored_gain(self, gain: Tensor) -> Tensor:
        """`gain` with the factors that the tables can hold, straight-through; shape (channels,)."""
        if not self._is_compact:
            return gain
        with torch.no_grad():
            factor = self._output_steps(gain)
            nearest = storable_factors(factor, self.tables.multiplier_bits)
            ratio = torch.where(factor > 0, nearest / factor, torch.ones_like(factor))
        return gain * ratio

    def stored_bias(self, steps: Tensor, gain: Tensor) -> Tensor:
        """A bias in accumulator steps as the tables can hold it: no gradient, shape (channels,)."""
        if not self._is_compact:
            return round_half_away(steps)
        values = self.levels().values().flatten(1).sum(1) * torch.sign(gain)
        offset = self.input_grid.grid().zero_point * values.to(steps.dtype)
        output_steps = self._output_steps(gain).to(steps.dtype)
        return storable_bias(steps - offset, self.tables.bias_bits, output_steps) + offset

    @property
    def _is_compact(self) -> bool:
        """Tables are so small that the model must be trained for them."""
        return (
            self.tables.multiplier_bits < _FINE_MULTIPLIER
            and self.grid is not None
            and self.grid.rounds
            and self.input_grid.rounds
        )

    def _output_steps(self, gain: Tensor) -> Tensor:
        """Factor from accumulator to output, ``s_x · s_w · |gain| / s_y``, without gradient."""
        assert self.grid is not None
        return (self._accumulator_step(gain) / self.grid.scale()).detach()

    def _accumulator_step(self, gain: Tensor) -> Tensor:
        """``s_x · s_w · |gain|``, without gradient: tensor of shape (channels,). [N4.1]"""
        assert self.quantizer is not None
        scale = self.quantizer.step(self.weight).reshape(-1)
        return (self.input_grid.scale() * scale * gain.abs()).detach()

    def compute(self, *inputs: Tensor) -> Tensor:
        y = self._product(*inputs)
        pruning = None if self.quantizer is None else self.quantizer.channels
        return pruning.watch(y, self.channel_axis) if pruning is not None and self.training else y

    def _product(self, x: Tensor) -> Tensor:
        quantize = self.enabled and self.quantizer is not None
        weight = self.quantizer(self.weight) if quantize and self.quantizer else self.weight
        if self.norm is not None and self.training and not self.use_running_statistics:
            y = self.norm.normalize(self.linear(x, weight, self.bias))
            alive = self._alive_channels()
            return y if alive is None else y * alive.reshape(-1, *[1] * (weight.dim() - 2))
        if self.norm is None and self.bias is None and not (quantize and self._is_compact):
            return self.linear(x, weight, None)
        gain, bias = self.folded()
        if quantize:
            gain = self.stored_gain(gain)
            bias = self._on_grid(bias, gain.detach())
        if self.norm is not None or self._is_compact:
            weight = weight * gain.reshape(-1, *[1] * (weight.dim() - 1))
        return self.linear(x, weight, bias)

    def _on_grid(self, bias: Tensor, gain: Tensor) -> Tensor:
        """The bias as a whole number of accumulator steps; straight-through. [N4.1]"""
        if not self.input_grid.rounds:
            return bias
        step = self._accumulator_step(gain)
        representable = bias.detach().abs() < MAX_BIAS * step
        safe = torch.where(representable, step, torch.ones_like(step))
        steps = (bias / safe).detach()
        # a constant channel stands on output steps [fold], which a coarse unit would lose
        rounded = self.stored_bias(steps, gain) if representable.all() else round_half_away(steps)
        return torch.where(representable, bias + (rounded * safe - bias).detach(), bias)


class Conv(Weighted):
    """1-D or 2-D convolution with groups."""

    channel_axis = 1

    def __init__(
        self, origin: Origin, *, weight: Tensor, bias: Tensor | None, window: Window, groups: int
    ) -> None:
        super().__init__(origin, weight=weight, bias=bias)
        self.window, self.groups = window, groups
        self._convolve = F.conv1d if weight.dim() == 3 else F.conv2d

    @property
    def is_depthwise(self) -> bool:
        """Each output channel reads one input channel; such weights are always stored dense."""
        return self.groups > 1 and self.weight.shape[1] == 1

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        window = self.window
        padding = [before for before, _ in window.padding]
        if not window.is_symmetric:
            x, padding = window.pad(x), [0] * len(padding)
        return self._convolve(x, weight, bias, window.stride, padding, window.dilation, self.groups)


class Scale(Conv):
    """BatchNorm that follows no layer: a depthwise convolution of size 1 whose weights are 1."""

    def __init__(self, origin: Origin, *, norm: BatchNorm, spatial: int) -> None:
        channels, ones = len(norm.mean), (1,) * spatial
        window = Window(kernel=ones, stride=ones, dilation=ones, padding=((0, 0),) * spatial)
        weight = torch.ones(channels, 1, *ones)
        super().__init__(origin, weight=weight, bias=None, window=window, groups=channels)
        self.weight.requires_grad_(False)
        self.norm = norm


class Linear(Weighted):
    """Fully connected layer over the last axis."""

    def linear(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return F.linear(x, weight, bias)


class Input(Layer):
    """A tensor that the caller gives; its grid is set from data and stays."""

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


class Add(Layer):
    """Sum of two tensors."""

    fuses_limits = True
    keeps_sign = True

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]


class Mul(Layer):
    """Product of two tensors."""

    fuses_limits = True
    keeps_sign = True

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * inputs[1]


class Unary(Layer):
    """Any function of one value; in integers a table of 256 bytes.

    Parameters
    ----------
    function : callable
        On tensors of any float dtype.
    fixed : tuple of float (scale, zero point), optional
        Grid that fits the function's range.
    low : float
        Smallest value of the function.
    """

    def __init__(
        self,
        origin: Origin,
        *,
        function: Callable[[Tensor], Tensor],
        fixed: tuple[float, int] | None = None,
        low: float = -math.inf,
    ) -> None:
        super().__init__(origin)
        self.function, self.fixed, self.low = function, fixed, low
        if fixed is not None:
            self.rule = GridRule.FIXED

    def non_negative(self, inputs: Sequence[bool]) -> bool:
        return self.low >= 0.0

    def compute(self, *inputs: Tensor) -> Tensor:
        return self.function(inputs[0])


class Pool(Layer):
    """Common part of windowed pooling: the output is on the input's grid."""

    rule = GridRule.SAME
    fuses_limits = True
    keeps_sign = True

    def __init__(self, origin: Origin, *, window: Window) -> None:
        super().__init__(origin)
        self.window = window


class MaxPool(Pool):
    """Largest value of each window."""

    @property
    def is_on_grid(self) -> bool:
        return self.limits == NO_LIMITS

    def compute(self, *inputs: Tensor) -> Tensor:
        window = self.window
        pool = F.max_pool1d if len(window.kernel) == 1 else F.max_pool2d
        padded = window.pad(inputs[0], value=-math.inf)
        return pool(padded, window.kernel, window.stride, 0, window.dilation)


class Upsample(Layer):
    """Each pixel as a block of equal pixels; `factor` is a whole number per spatial axis."""

    rule = GridRule.SAME
    keeps_sign = True

    def __init__(self, origin: Origin, *, factor: Shape) -> None:
        super().__init__(origin)
        self.factor = factor

    @property
    def is_on_grid(self) -> bool:
        return True

    def compute(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        for axis, factor in enumerate(self.factor, start=2):
            x = x.repeat_interleave(factor, dim=axis)
        return x


class AvgPool(Pool):
    """Mean of the pixels of each window that lie in the image."""

    def compute(self, *inputs: Tensor) -> Tensor:
        window = self.window
        pool = F.avg_pool1d if len(window.kernel) == 1 else F.avg_pool2d
        x = inputs[0]
        mean = pool(window.pad(x), window.kernel, window.stride)
        if any(n for axis in window.padding for n in axis):
            inside = window.pad(torch.ones_like(x[:1, :1]))
            mean = mean / pool(inside, window.kernel, window.stride)
        return self._break_ties(mean)

    def _break_ties(self, mean: Tensor) -> Tensor:
        """Nudge means that lie half-way between integers away from q = 0, as the integers round.

        Means of n whole numbers are multiples of 1/n: a quarter of that moves nothing but ties,
        and ties are frequent (every fourth mean of 2x2 pixels).
        """
        grid = self.grid
        if grid is None or not grid.rounds:
            return mean
        with torch.no_grad():
            scale, zero = grid.scale(), grid.grid().zero_point
            nudge = torch.sign(mean / scale + zero) * (scale * 0.25 / math.prod(self.window.kernel))
        return mean + nudge


class Mean(Layer):
    """Mean over all pixels of each channel."""

    fuses_limits = True
    keeps_sign = True

    def __init__(self, origin: Origin, *, keep_dims: bool) -> None:
        super().__init__(origin)
        self.keep_dims = keep_dims

    def compute(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.mean(tuple(range(2, x.dim())), keepdim=self.keep_dims)


class Pad(Layer):
    """A border of one value around an image or a sequence."""

    rule = GridRule.SAME

    def __init__(
        self, origin: Origin, *, padding: tuple[tuple[int, int], ...], value: float
    ) -> None:
        super().__init__(origin)
        self.padding, self.value = padding, value

    @property
    def is_on_grid(self) -> bool:
        return self.value == 0.0

    def non_negative(self, inputs: Sequence[bool]) -> bool:
        return all(inputs) and self.value >= 0.0

    def compute(self, *inputs: Tensor) -> Tensor:
        flat = [n for axis in reversed(self.padding) for n in axis]
        return F.pad(inputs[0], flat, value=self.value)


class Concat(Layer):
    """Tensors joined along an axis; they share one grid.

    Parameters
    ----------
    axis : int
        Of the torch tensor, batch included.
    """

    rule = GridRule.SAME
    keeps_sign = True

    def __init__(self, origin: Origin, *, axis: int) -> None:
        super().__init__(origin)
        self.axis = axis

    @property
    def is_on_grid(self) -> bool:
        return True

    def compute(self, *inputs: Tensor) -> Tensor:
        return torch.cat(inputs, self.axis)


class Requantize(Layer):
    """The same values on another grid."""

    keeps_sign = True

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0]


class Reshape(Layer):
    """The same elements in another shape."""

    rule = GridRule.NONE
    keeps_sign = True

    def compute(self, *inputs: Tensor) -> Tensor:
        (x,) = inputs
        return x.reshape(len(x), *self.origin.shape)


class Permute(Layer):
    """Axes in another order; `axes` are of the torch tensor, batch included."""

    rule = GridRule.NONE
    keeps_sign = True

    def __init__(self, origin: Origin, *, axes: Shape) -> None:
        super().__init__(origin)
        self.axes = axes

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0].permute(self.axes)


class Dropout(Layer):
    """Dropout while training; nothing in the integers."""

    rule = GridRule.NONE
    keeps_sign = True

    def __init__(self, origin: Origin, *, probability: float, whole_channels: bool) -> None:
        super().__init__(origin)
        self.probability, self.whole_channels = probability, whole_channels

    def compute(self, *inputs: Tensor) -> Tensor:
        if self.whole_channels:
            return torch.feature_dropout(inputs[0], self.probability, self.training)
        return F.dropout(inputs[0], self.probability, self.training)


class Softmax(Layer):
    """Softmax along one axis; `axis` is of the torch tensor, batch included."""

    rule = GridRule.FIXED
    fixed: ClassVar[tuple[float, int]] = (1.0 / 256, -128)

    def __init__(self, origin: Origin, *, axis: int) -> None:
        super().__init__(origin)
        self.axis = axis

    def non_negative(self, inputs: Sequence[bool]) -> bool:
        return True

    def compute(self, *inputs: Tensor) -> Tensor:
        return torch.softmax(inputs[0], self.axis)


class ArgMax(Layer):
    """Position of the largest value; `axis` is of the torch tensor, batch included."""

    rule = GridRule.NONE

    def __init__(self, origin: Origin, *, axis: int) -> None:
        super().__init__(origin)
        self.axis = axis

    def compute(self, *inputs: Tensor) -> Tensor:
        return inputs[0].argmax(self.axis)
