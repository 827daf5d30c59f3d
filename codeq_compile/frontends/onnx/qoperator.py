# SPDX-License-Identifier: Apache-2.0
"""Operators that compute in integers themselves, written as what they are short for.

`quantize_static` with QuantFormat.QOperator makes them: QLinearConv is a Conv between
DequantizeLinear and QuantizeLinear.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from codeq_compile.frontends.onnx.schema import Model, Operator


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Which inputs are what.

    Parameters
    ----------
    kind : str
        The operator between the quantizers.
    operands : tuple of int
        First inputs of operands: integers, scale and zero point follow each other.
    output : int
        Scale of the output; its zero point follows.
    bias : int, optional
        int32 on the product of the operands' scales.
    """

    kind: str
    operands: tuple[int, ...]
    output: int
    bias: int | None = None


FORMS: Mapping[str, Form] = {
    "QLinearConv": Form(kind="Conv", operands=(0, 3), output=6, bias=8),
    "QGemm": Form(kind="Gemm", operands=(0, 3), output=7, bias=6),
    "QLinearMatMul": Form(kind="MatMul", operands=(0, 3), output=6),
    "QLinearAdd": Form(kind="Add", operands=(0, 3), output=6),
    "QLinearMul": Form(kind="Mul", operands=(0, 3), output=6),
    "QLinearSigmoid": Form(kind="Sigmoid", operands=(0,), output=3),
    "QLinearLeakyRelu": Form(kind="LeakyRelu", operands=(0,), output=3),
    "QLinearSoftmax": Form(kind="Softmax", operands=(0,), output=3),
    "QLinearAveragePool": Form(kind="AveragePool", operands=(0,), output=3),
    "QLinearGlobalAveragePool": Form(kind="GlobalAveragePool", operands=(0,), output=3),
}


def expanded(model: Model) -> Model:
    """The model with operators of the standard in place of these."""
    operators: list[Operator] = []
    # numbers of the file stay those of its operators; the new ones follow
    number = len(model.operators)
    for operator in model.operators:
        form = _form(operator)
        if form is None:
            operators.append(operator)
            continue
        parts = _parts(operator, form, number)
        number += len(parts) - 1
        operators += parts
    return replace(model, operators=tuple(operators))


def _form(operator: Operator) -> Form | None:
    if operator.kind == "QLinearConcat":
        operands = tuple(range(2, len(operator.inputs) - 2, 3))
        return Form(kind="Concat", operands=operands, output=0)
    form = FORMS.get(operator.kind)
    if form is None or operator.attributes.get("channels_last"):
        return None
    return form


def _parts(operator: Operator, form: Form, number: int) -> list[Operator]:
    """Dequantizers, the operator, and a quantizer."""
    inputs = (*operator.inputs, *[""] * 9)
    output = next(iter(operator.outputs), "")
    parts = [
        _part(operator, number + i, "DequantizeLinear", inputs[at : at + 3], f"{output}.x{i}")
        for i, at in enumerate(form.operands)
    ]
    reals = [each.outputs[0] for each in parts]
    if form.bias is not None and inputs[form.bias]:
        reals.append(inputs[form.bias])
    computed = replace(
        operator, kind=form.kind, domain="", inputs=tuple(reals), outputs=(f"{output}.y",)
    )
    last = _part(
        operator,
        number + len(parts),
        "QuantizeLinear",
        (computed.outputs[0], *inputs[form.output : form.output + 2]),
        output,
    )
    return [*parts, computed, last]


def _part(
    operator: Operator, index: int, kind: str, inputs: tuple[str, ...], output: str
) -> Operator:
    # weights have their scales along the first axis, those of MatMul along the second
    axis = 1 if operator.kind == "QLinearMatMul" else 0
    if operator.kind == "QGemm" and not operator.attributes.get("transB"):
        axis = 1
    return Operator(
        index=index,
        name=output,
        kind=kind,
        domain="",
        inputs=inputs,
        outputs=(output,),
        attributes={"axis": axis},
    )
