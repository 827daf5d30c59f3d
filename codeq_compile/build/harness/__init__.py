# SPDX-License-Identifier: Apache-2.0
"""The C that binds an emitted library to the test programs: generated, compiled, never shipped."""

from collections.abc import Iterator
from pathlib import Path
from string import Template

from codeq_compile.ir.types import DType
from codeq_compile.manifest import Manifest, TensorEntry

FOLDER = Path(__file__).resolve().parent
"""Holds the binding's template and the test programs of the host."""

_STATE = "static uint32_t state[{words}];\n"
_RESET = """    static int is_reset;
    if (!is_reset) {{
        {name}_reset(state);
        is_reset = 1;
    }}
"""
"""Before the first sample only: the samples are consecutive inferences."""

GUARD_STATUS = -100
"""Status of a run that wrote beside its arena."""


def source(library: Manifest) -> str:
    """Text of `<name>_harness.c`, which defines `codeq_harness` of targets/common/harness.h."""
    inputs, outputs = list(_slots(library.inputs)), list(_slots(library.outputs))
    given = [
        *(("inputs", *slot) for slot in inputs if slot[0].arena_offset is None),
        *(("outputs", *slot) for slot in outputs if slot[0].arena_offset is None),
    ]
    arguments = [
        *(_pointer(tensor, start, side) for side, tensor, start in given),
        "&memory.arena",
        "state" if library.state_bytes else "NULL",
    ]
    template = Template((FOLDER / "harness.c.in").read_text(encoding="utf-8"))
    return template.substitute(
        name=library.name,
        guard_status=GUARD_STATUS,
        input_bytes=library.input_bytes,
        output_bytes=library.output_bytes,
        state=_STATE.format(words=library.state_bytes // 4) if library.state_bytes else "",
        reset=_RESET.format(name=library.name) if library.state_bytes else "",
        caller_bytes=sum(tensor.bytes for _, tensor, _ in given),
        buffers="".join(
            f"static {tensor.dtype.c_type} {_buffer(tensor)}[{tensor.bytes // 4}];\n"
            for _, tensor, start in given
            if _needs_buffer(tensor, start)
        ),
        before="".join(
            _copy(f"((uint8_t *){_place(library, tensor)})[i]", f"inputs[{start}u + i]", tensor)
            for tensor, start in inputs
            if _is_copied(tensor, start)
        ),
        arguments=", ".join(arguments),
        after="".join(
            _copy(
                f"outputs[{start}u + i]", f"((const uint8_t *){_place(library, tensor)})[i]", tensor
            )
            for tensor, start in outputs
            if _is_copied(tensor, start)
        ),
    )


def _slots(tensors: tuple[TensorEntry, ...]) -> Iterator[tuple[TensorEntry, int]]:
    """Each tensor with the position of its first byte."""
    position = 0
    for tensor in tensors:
        yield tensor, position
        position += tensor.bytes


def _needs_buffer(tensor: TensorEntry, start: int) -> bool:
    """Its place among the others is not aligned for its elements."""
    return tensor.dtype is not DType.S8 and start % 4 != 0


def _is_copied(tensor: TensorEntry, start: int) -> bool:
    """The model does not work in the harness's own bytes."""
    return tensor.arena_offset is not None or _needs_buffer(tensor, start)


def _place(library: Manifest, tensor: TensorEntry) -> str:
    if tensor.arena_offset is None:
        return _buffer(tensor)
    return f"{library.name}_{tensor.identifier}_in(&memory.arena)"


def _buffer(tensor: TensorEntry) -> str:
    return f"{tensor.identifier}_buffer"


def _pointer(tensor: TensorEntry, start: int, side: str) -> str:
    if _needs_buffer(tensor, start):
        return _buffer(tensor)
    const = "const " if side == "inputs" else ""
    return f"({const}{tensor.dtype.c_type} *)({const}void *)({side} + {start})"


def _copy(to: str, value: str, tensor: TensorEntry) -> str:
    return (
        f"    for (uint32_t i = 0; i < {tensor.bytes}u; i++) {{\n        {to} = {value};\n    }}\n"
    )
