# SPDX-License-Identifier: Apache-2.0
"""Padding of windows as pixels on four sides; MaxPool, AveragePool and their global forms."""

from collections.abc import Sequence
from dataclasses import dataclass

from codeq_compile.frontends.onnx.layer import Layer, Refusal, handles
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.base import Padding, Pair
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.pad import Pad

_MAX_PIXELS = 1 << 20
"""Of a kernel, a stride or a border: what is larger is no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How a window moves over an image; a sequence is an image of height 1."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    padding: Padding

    @property
    def before(self) -> Pair:
        return self.padding[0], self.padding[2]


def window(layer: Layer, size: Pair, rank: int, kernel: Sequence[int] | None = None) -> Window:
    """The window of an operator over an image of `size` = (h, w) from a tensor of `rank` axes.

    Source: the operators Conv and MaxPool of ONNX.
    """
    spatial = rank - 2
    default = (1,) * spatial
    sizes = tuple(kernel if kernel is not None else layer.attribute("kernel_shape", ()))
    stride = layer.attribute("strides", default)
    dilation = layer.attribute("dilations", default)
    pads = layer.attribute("pads", (0,) * (2 * spatial))
    lists = (sizes, stride, dilation)
    if any(len(each) != spatial for each in lists) or len(pads) != 2 * spatial:
        raise Refusal(
            f"its kernel {list(sizes)}, strides {list(stride)}, dilations {list(dilation)} and "
            f"pads {list(pads)} do not fit {spatial} axes"
        )
    for each in lists:
        if not all(1 <= n <= _MAX_PIXELS for n in each):
            raise Refusal(f"its kernel, strides and dilations must be 1 or more, not {list(each)}")
    if not all(0 <= n <= _MAX_PIXELS for n in pads):
        raise Refusal(f"its pads are {list(pads)}: crop with a Slice")
    before, after = pads[:spatial], pads[spatial:]
    auto = layer.attribute("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        totals = [
            max((-(-n // s) - 1) * s + (k - 1) * d + 1 - n, 0)
            for n, s, k, d in zip(size[-spatial:], stride, sizes, dilation, strict=True)
        ]
        less = [total // 2 for total in totals]
        more = [total - half for total, half in zip(totals, less, strict=True)]
        before, after = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto == "VALID":
        before = after = (0,) * spatial
    elif auto != "NOTSET":
        raise Refusal(f"its auto_pad is {auto}")
    (top, left), (bottom, right) = _pair(before, 0), _pair(after, 0)
    return Window(
        kernel=_pair(sizes, 1),
        stride=_pair(stride, 1),
        dilation=_pair(dilation, 1),
        padding=(top, bottom, left, right),
    )


def _pair(values: Sequence[int], missing: int) -> Pair:
    """(h, w); a sequence has no height."""
    first, second = (missing, *values)[-2:]
    return first, second


@handles("MaxPool")
def max_pool(layer: Layer) -> None:
    """Any kernel, stride, dilation and padding, ceil_mode too."""
    image, activation = layer.image(or_integers=True)
    rank = len(activation.shape)
    size = layer.type(image).shape[:2]
    view = _ceiled(layer, window(layer, (size[0], size[1]), rank), (size[0], size[1]))
    op = MaxPool2D(
        kernel=view.kernel, stride=view.stride, dilation=view.dilation, padding=view.padding
    )
    grid = layer.building.grids.get(layer.output)
    layer.write_image(layer.node(op, image), rank, grid, activation.offset)


@handles("AveragePool")
def average_pool(layer: Layer) -> None:
    """Any kernel, stride and padding, counted or not; without dilation."""
    image, activation = layer.image()
    rank = len(activation.shape)
    h, w, _ = layer.type(image).shape
    view = window(layer, (h, w), rank)
    if view.dilation != (1, 1):
        raise Refusal("its window is dilated")
    ceiled = _ceiled(layer, view, (h, w))
    grid = layer.building.grids.get(layer.output)
    if layer.attribute("count_include_pad", 0) and any(view.padding):
        if ceiled != view:
            raise Refusal("it counts padding but not that of ceil_mode: leave ceil_mode out")
        top, bottom, left, right = view.padding
        image = layer.node(Pad(before=(top, left, 0), after=(bottom, right, 0)), image)
        ceiled = Window(
            kernel=view.kernel, stride=view.stride, dilation=(1, 1), padding=(0, 0, 0, 0)
        )
    covers_all = ceiled.kernel == (h, w) and not any(ceiled.padding)
    if covers_all and grid not in {None, layer.type(image).grid}:
        # one rounding instead of two
        layer.write_image(layer.node(Mean(), image, grid=grid), rank)
        return
    op = AvgPool2D(kernel=ceiled.kernel, stride=ceiled.stride, padding=ceiled.padding)
    layer.write_image(layer.node(op, image), rank, grid)


@handles("GlobalAveragePool")
def global_average_pool(layer: Layer) -> None:
    """The mean of each channel, rounded once."""
    image, activation = layer.image()
    grid = layer.building.grids.get(layer.output) or layer.grid(activation)
    layer.write_image(layer.node(Mean(), image, grid=grid), len(activation.shape))


@handles("GlobalMaxPool")
def global_max_pool(layer: Layer) -> None:
    """The largest value of each channel."""
    image, activation = layer.image()
    h, w, _ = layer.type(image).shape
    op = MaxPool2D(kernel=(h, w), stride=(1, 1))
    grid = layer.building.grids.get(layer.output)
    layer.write_image(layer.node(op, image), len(activation.shape), grid)


def _ceiled(layer: Layer, view: Window, size: Pair) -> Window:
    """With ceil_mode: more padding behind, for windows that begin in the image but leave it."""
    if not layer.attribute("ceil_mode", 0):
        return view
    extra = []
    reaches = ((k - 1) * d + 1 for k, d in zip(view.kernel, view.dilation, strict=True))
    for n, reach, s, first, last in zip(
        size, reaches, view.stride, view.padding[::2], view.padding[1::2], strict=True
    ):
        rest = n + first + last - reach
        count = -(-rest // s) + 1
        if (count - 1) * s >= n + first:
            count -= 1
        extra.append(max(0, (count - 1) * s - rest))
    top, bottom, left, right = view.padding
    return Window(
        kernel=view.kernel,
        stride=view.stride,
        dilation=view.dilation,
        padding=(top, bottom + extra[0], left, right + extra[1]),
    )
