# SPDX-License-Identifier: Apache-2.0
"""Integers that follow from shapes, before anything runs: SHAPE, STRIDED_SLICE, PACK and so on."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from codeq_compile.frontends.tflite.layer import Layer, Refusal
from codeq_compile.frontends.tflite.options import (
    ConcatenationOptions,
    PackOptions,
    StridedSliceOptions,
)
from codeq_compile.frontends.tflite.schema import ElementType
from codeq_compile.ir.op import Array

_INTEGERS = {ElementType.INT32, ElementType.INT64}
MAX_FOLDED = 4096
"""Elements of what is folded: shapes are short, and damaged files are not."""


def fold(layer: Layer) -> bool:
    """Compute the operator's output now, if it is integers that do not depend on any sample."""
    function = _FUNCTIONS.get(layer.operator.kind)
    if function is None or len(layer.operator.outputs) != 1:
        return False
    output = layer.output
    if output.kind not in _INTEGERS or output.elements > MAX_FOLDED:
        return False
    if layer.operator.kind == "SHAPE":
        values: Array = np.array(layer.tensor(0).shape)
    else:
        known = [layer.known(i) for i in range(len(layer.operator.inputs)) if layer.has_input(i)]
        operands = [each for each in known if each is not None]
        total = sum(each.size for each in operands)
        if len(operands) < len(known) or not operands or total > MAX_FOLDED:
            return False
        try:
            values = function(layer, operands)
        except ValueError as error:  # numpy's, for sizes and axes that contradict each other
            raise Refusal(f"its operands do not fit: {error}") from error
    if values.size != output.elements:
        raise Refusal(f"it makes {values.size} values, but the file calls its output {output}")
    layer.building.folded[output.index] = values.reshape(output.shape).astype(np.int64)
    return True


def _pack(layer: Layer, operands: Sequence[Array]) -> Array:
    return np.stack(
        [each.reshape(operands[0].shape) for each in operands], axis=layer.options(PackOptions).axis
    )


def _concatenation(layer: Layer, operands: Sequence[Array]) -> Array:
    return np.concatenate(operands, axis=layer.options(ConcatenationOptions).axis)


def _strided_slice(layer: Layer, operands: Sequence[Array]) -> Array:
    options = layer.options(StridedSliceOptions)
    return operands[0][strided(layer, operands[0].shape, options)]


def strided(
    layer: Layer, shape: Sequence[int], options: StridedSliceOptions
) -> tuple[slice | int, ...]:
    """What STRIDED_SLICE selects, as numpy says it."""
    if options.ellipsis_mask or options.new_axis_mask or options.offset:
        raise Refusal("it has an ellipsis, a new axis or an offset")
    begin, end, stride = (layer.integers(i, "limits") for i in (1, 2, 3))
    if not len(begin) == len(end) == len(stride) <= len(shape) or 0 in stride:
        raise Refusal(f"its limits {begin}, {end}, {stride} do not fit {len(shape)} axes")
    chosen: list[slice | int] = []
    for axis, (first, last, step) in enumerate(zip(begin, end, stride, strict=True)):
        bit = 1 << axis
        if options.shrink_axis_mask & bit:
            if step < 0 or not -shape[axis] <= first < shape[axis]:
                raise Refusal(f"it selects position {first} of {shape[axis]} in steps of {step}")
            # TFLite's kernels, unlike TensorFlow's, heed the mask of an axis that vanishes
            chosen.append(0 if options.begin_mask & bit else first)
            continue
        chosen.append(
            slice(
                None if options.begin_mask & bit else first,
                None if options.end_mask & bit else last,
                step,
            )
        )
    return tuple(chosen)


def _same(layer: Layer, operands: Sequence[Array]) -> Array:
    return operands[0]


def _arithmetic(function: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    def apply(layer: Layer, operands: Sequence[Array]) -> Array:
        if len(operands) != 2:
            raise Refusal(f"it has {len(operands)} operands, and 2 are due")
        return function(*(each.astype(np.int64) for each in operands))

    return apply


_FUNCTIONS: Mapping[str, Callable[[Layer, Sequence[Array]], Array]] = {
    "SHAPE": _same,
    "PACK": _pack,
    "CONCATENATION": _concatenation,
    "STRIDED_SLICE": _strided_slice,
    "RESHAPE": _same,
    "SQUEEZE": _same,
    "EXPAND_DIMS": _same,
    "CAST": _same,
    "ADD": _arithmetic(np.add),
    "SUB": _arithmetic(np.subtract),
    "MUL": _arithmetic(np.multiply),
}
KINDS = _FUNCTIONS.keys()
"""Operators that are computed when the model is read, where that is possible."""
