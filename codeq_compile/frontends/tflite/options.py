# SPDX-License-Identifier: Apache-2.0
"""Options of the operators, with the numbers of their fields. Source: TensorFlow's schema.fbs."""

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar

from codeq_compile.frontends.tflite.flatbuffer import Table

Options = TypeVar("Options")


def option(field: int, code: str, default: Any = 0) -> Any:
    """A field of an options table: its number, its type as `struct` has it, its default."""
    return dataclasses.field(default=default, metadata={"field": field, "code": code})


def read(kind: type[Options], table: Table | None) -> Options:
    """The options of an operator; defaults where the file has none."""
    if table is None:
        return kind()
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # every kind is a dataclass
    return kind(
        **{
            each.name: table.scalar(each.metadata["field"], each.metadata["code"], each.default)
            for each in fields
        }
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2DOptions:
    padding: int = option(0, "b")
    stride_w: int = option(1, "i")
    stride_h: int = option(2, "i")
    activation: int = option(3, "b")
    dilation_w: int = option(4, "i", 1)
    dilation_h: int = option(5, "i", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthwiseConv2DOptions:
    padding: int = option(0, "b")
    stride_w: int = option(1, "i")
    stride_h: int = option(2, "i")
    activation: int = option(4, "b")
    dilation_w: int = option(5, "i", 1)
    dilation_h: int = option(6, "i", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class FullyConnectedOptions:
    activation: int = option(0, "b")
    weights_format: int = option(1, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool2DOptions:
    padding: int = option(0, "b")
    stride_w: int = option(1, "i")
    stride_h: int = option(2, "i")
    filter_w: int = option(3, "i")
    filter_h: int = option(4, "i")
    activation: int = option(5, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationOptions:
    """Of ADD, SUB and MUL."""

    activation: int = option(0, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcatenationOptions:
    axis: int = option(0, "i")
    activation: int = option(1, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SoftmaxOptions:
    beta: float = option(0, "f", 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeakyReluOptions:
    alpha: float = option(0, "f", 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResizeOptions:
    align_corners: bool = option(0, "?", False)
    half_pixel_centers: bool = option(1, "?", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StridedSliceOptions:
    begin_mask: int = option(0, "i")
    end_mask: int = option(1, "i")
    ellipsis_mask: int = option(2, "i")
    new_axis_mask: int = option(3, "i")
    shrink_axis_mask: int = option(4, "i")
    offset: bool = option(5, "?", False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransposeConvOptions:
    padding: int = option(0, "b")
    stride_w: int = option(1, "i")
    stride_h: int = option(2, "i")
    activation: int = option(3, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPadOptions:
    mode: int = option(0, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class SVDFOptions:
    rank: int = option(0, "i")
    activation: int = option(1, "b")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackOptions:
    axis: int = option(1, "i")
