# SPDX-License-Identifier: Apache-2.0
"""From a plan to everything that the templates print; the templates themselves decide nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from codeq_compile.emit import format as c
from codeq_compile.errors import ModelError
from codeq_compile.ir.op import CArray, CValue, c_arrays
from codeq_compile.ir.types import DType, TensorType
from codeq_compile.memory import Buffer
from codeq_compile.plan import Layer, Plan

RUNTIME_ABI = 1
"""CODEQ_RUNTIME_ABI of runtime_c/include/codeq/types.h."""

_RULE = 96
"""Columns of a heading, so that all end alike."""

# A model may not be called like a header that its own files or the runtime include: its folder is
# searched for headers, so <string.h> would become the model's.
_FOREIGN_HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar
wchar wctype arm_acle arm_mve harness host
"""


def check_name(name: str) -> None:
    """Refuse a model name that cannot be the prefix of symbols and the stem of a header.

    Raises
    ------
    ModelError
        The name belongs to C, to the runtime or to the test programs.
    """
    if name in _FOREIGN_HEADERS.split() or name.startswith(("cq_", "codeq")) or name == "cq":
        raise ModelError(
            f'a model cannot be called "{name}": {name}.h or its symbols belong to C or to the '
            "runtime; choose another with --name"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """An input or output of the model.

    Parameters
    ----------
    tensor : str
        The model's own name.
    identifier : str
        Parameter of ``<name>_run``; in capitals part of its macros.
    type : TensorType
    direction : {"input", "output"}
    """

    tensor: str
    identifier: str
    type: TensorType
    direction: str

    @property
    def member(self) -> str:
        """Declaration in a vector of the self-test."""
        return f"{self.type.dtype.c_type} {self.identifier}[{self.type.elements}]"

    @property
    def parameter(self) -> str:
        """Declaration in ``<name>_run``."""
        const = "const " if self.direction == "input" else ""
        return f"{const}{self.type.dtype.c_type} *{self.identifier}"

    def about(self) -> str:
        """One line for people."""
        head = f'{self.direction} "{c.clip(c.comment(self.tensor), 40)}", {self.type}'
        if self.type.grid is None:
            return f"{head}: plain integers"
        return f"{head}: real value = scale * (q - zero point)"

    def macros(self, prefix: str) -> list[tuple[str, str]]:
        """Names and values of its macros."""
        stem = f"{prefix}_{self.identifier.upper()}"
        shape = ", ".join(map(str, self.type.shape))
        macros = [
            (f"{stem}_BYTES", str(self.type.bytes)),
            (f"{stem}_ELEMENTS", str(self.type.elements)),
            (f"{stem}_RANK", str(len(self.type.shape))),
            (f"{stem}_SHAPE", f"{{{shape}}}"),
        ]
        if self.type.grid is not None:
            scale = np.float32(self.type.scale)
            macros += [
                (f"{stem}_SCALE", f"{scale!s}f /* exactly {float(scale).hex()} */"),
                (f"{stem}_ZERO_POINT", f"({self.type.zero_point})"),
            ]
        return macros


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A constant array of `<name>_weights.c`."""

    symbol: str
    array: CArray

    @property
    def declaration(self) -> str:
        return c.declaration(self.array, self.symbol)

    @property
    def rows(self) -> list[str]:
        return c.rows(self.array.data, self.array.c_type)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerText:
    """What is printed of a layer.

    Parameters
    ----------
    label : str
        ``l02``.
    banner : list of str
        Lines of the comment above the parameters.
    params : str
        Type of the parameters.
    fields : list of str
        Lines of their initialiser.
    tables : list of Table
    heading : str
        One line for the file of weights.
    """

    label: str
    banner: list[str]
    params: str
    fields: list[str]
    tables: list[Table]
    heading: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A call in ``<name>_run``: a comment and statements, none for a view."""

    comment: str
    statements: list[str]


class Model:
    """Everything that a template may print.

    Parameters
    ----------
    plan : Plan
    model_sha256 : str
        Digest of the `.cq` file's content.
    command : str
        What made the library.
    generator : str
        ``"codeq <version>"``.
    numerics : int
        Version of docs/NUMERICS.md.
    """

    def __init__(
        self, plan: Plan, *, model_sha256: str, command: str, generator: str, numerics: int
    ) -> None:
        check_name(plan.graph.name)
        self.plan = plan
        self.graph = plan.graph
        self.name = plan.graph.name
        self.prefix = self.name.upper()
        self.generator = generator
        self.runtime_abi = RUNTIME_ABI
        self._provenance = (model_sha256, command, numerics)
        digits = max(2, len(str(len(plan.layers))))
        self._labels = {layer.node.name: f"l{layer.index:0{digits}}" for layer in plan.layers}
        self._pointers = self._pointer_names()
        self.layers = [self._layer_text(layer) for layer in plan.layers]
        self.inputs, self.outputs = self._ports()

    @property
    def ports(self) -> list[Port]:
        return [*self.inputs, *self.outputs]

    @property
    def arena_bytes(self) -> int:
        """At least one element: C has no arrays of length 0."""
        return max(self.alignment, self.plan.memory.arena_bytes)

    @property
    def uses_arena(self) -> bool:
        return self.plan.memory.arena_bytes > 0

    @property
    def alignment(self) -> int:
        return self.plan.memory.alignment

    @property
    def state_bytes(self) -> int:
        return 0

    @property
    def op_headers(self) -> list[str]:
        return sorted({layer.kernel.header for layer in self.plan.layers})

    @property
    def labels(self) -> list[list[str]]:
        """Class names, each as adjacent string literals."""
        return [c.strings(label, c.WIDTH - len(c.INDENT) - 1) for label in self.graph.labels]

    def banner(self, file: str, about: str) -> list[str]:
        """Lines of the comment that opens a file."""
        digest, command, numerics = self._provenance
        plan, memory, target = self.plan, self.plan.memory, self.plan.target
        facts = [
            ("model", f"{self.name}.cq  sha256:{digest}"),
            ("command", c.comment(command)),
            ("target", f"{target.name} ({target.core}), isa {' '.join(target.isa)}"),
            (
                "flash",
                f"{c.count(plan.weights_bytes)} B weights, {c.count(plan.tables_bytes)} B tables",
            ),
            (
                "ram",
                f"{c.count(self.arena_bytes)} B arena (lower bound "
                f"{c.count(memory.lower_bound)} B), peak at {self._peak()}",
            ),
            ("numerics", str(numerics)),
        ]
        lines = [f"{file} - generated by {self.generator}. Do not edit.", "", about, ""]
        for key, text in facts:
            lines += c.wrap(text, f"  {key:<9} ", " " * 12)
        return lines

    def signature(self, end: str) -> list[str]:
        """Lines of the entry point's declaration."""
        arguments = [
            *(port.parameter for port in self.ports),
            f"struct {self.name}_arena *arena",
            "void *state",
        ]
        return c.call(f"enum cq_status {self.name}_run", arguments, end)

    def selftest_call(self) -> list[str]:
        """Lines that run the model on a vector."""
        arguments = [
            *(f"vectors[i].{port.identifier}" for port in self.inputs),
            *(port.identifier for port in self.outputs),
            "arena",
            "state",
        ]
        head = f"{c.INDENT * 2}const enum cq_status status = {self.name}_run"
        return c.call(head, arguments, ";")

    def selftest_comparisons(self) -> list[list[str]]:
        """For every output the lines that open the block of a difference."""
        return [
            c.call(
                f"{c.INDENT * 2}if (!is_equal",
                [
                    port.identifier,
                    f"vectors[i].{port.identifier}",
                    f"sizeof vectors[i].{port.identifier}",
                ],
                ") {",
            )
            for port in self.outputs
        ]

    def selftest_signature(self, end: str) -> list[str]:
        """Lines of the self-test's declaration."""
        arguments = [
            *(port.parameter for port in self.outputs),
            f"struct {self.name}_arena *arena",
            "void *state",
        ]
        return c.call(f"int {self.name}_selftest", arguments, end)

    def macros(self, pairs: Sequence[tuple[str, str]]) -> list[str]:
        """`#define` lines with their values aligned."""
        width = max(len(name) for name, _ in pairs)
        return [f"#define {name:<{width}} {value}" for name, value in pairs]

    def memory_macros(self) -> list[str]:
        return self.macros(
            [
                (f"{self.prefix}_ARENA_BYTES", str(self.arena_bytes)),
                (f"{self.prefix}_STATE_BYTES", str(self.state_bytes)),
            ]
        )

    def port_macros(self, port: Port) -> list[str]:
        return self.macros(port.macros(self.prefix))

    def argument_checks(self) -> list[str]:
        """Conditions that make a call wrong."""
        conditions = [f"{port.identifier} == NULL" for port in self.ports]
        conditions.append("arena == NULL")
        aligned = [port.identifier for port in self.ports if port.type.dtype is not DType.S8]
        conditions += [f"((uintptr_t){name} & 3u) != 0u" for name in [*aligned, "arena"]]
        lines, line = [], f"{c.INDENT}if ("
        for number, condition in enumerate(conditions):
            piece = condition + (") {" if number == len(conditions) - 1 else " ||")
            if len(line) + 1 + len(piece) > c.WIDTH:
                lines.append(line)
                line = c.INDENT * 2 + piece
            else:
                line += piece if line.endswith("(") else " " + piece
        return [*lines, line]

    def buffers(self) -> list[str]:
        """Declarations of the pointers into the arena, with their lifetimes."""
        arena = [b for b in self.plan.memory.buffers if not b.is_scratch]
        arena.sort(key=lambda b: (b.first, b.offset))
        declarations = [self._buffer(buffer) for buffer in arena]
        width = max((len(code) for code, _ in declarations), default=0)
        return [f"{c.INDENT}{code:<{width}} /* {about} */" for code, about in declarations]

    def steps(self) -> list[Step]:
        """Calls and views in the order of execution."""
        layers = {layer.node.name: layer for layer in self.plan.layers}
        steps = []
        for node in self.graph.nodes:
            if node.name in layers:
                steps.append(self._call(layers[node.name]))
            else:
                kind = self.graph.output_type(node)
                name = c.clip(c.comment(node.name), 50)
                steps.append(
                    Step(
                        comment=f'{node.op.kind} "{name}": {self._place(node.output)} is now '
                        f"{kind}, nothing is copied",
                        statements=[],
                    )
                )
        return steps

    def _pointer_names(self) -> dict[str, str]:
        """Name of each buffer of the arena, after the layer that writes it first."""
        names = {}
        for layer in self.plan.layers:
            place = self.plan.memory.places[layer.node.output]
            if place.kind == "arena" and place.name not in names:
                names[place.name] = "t" + self._labels[layer.node.name][1:]
        return names

    def _ports(self) -> tuple[list[Port], list[Port]]:
        taken = {
            *("arena", "state", "bytes", "status", "vectors", "is_equal", "i"),
            *(f"{self.name}_{suffix}" for suffix in ("run", "selftest", "labels")),
            *self._labels.values(),
            *self._pointers.values(),
            *(table.symbol for layer in self.layers for table in layer.tables),
        }
        named = c.identifiers([*self.graph.inputs, *self.graph.outputs], taken)
        sides = (("input", self.graph.inputs), ("output", self.graph.outputs))
        inputs, outputs = (
            [
                Port(
                    tensor=tensor,
                    identifier=named[tensor],
                    type=self.graph.tensors[tensor],
                    direction=direction,
                )
                for tensor in tensors
            ]
            for direction, tensors in sides
        )
        return inputs, outputs

    def _peak(self) -> str:
        node = self.graph.nodes[self.plan.memory.peak]
        return self._labels.get(node.name, node.op.kind)

    def _buffer(self, buffer: Buffer) -> tuple[str, str]:
        name = self._pointers[buffer.name]
        start = f"bytes + {buffer.offset}" if buffer.offset else "bytes"
        kind = self.graph.tensors[buffer.name].dtype
        if kind is not DType.S8:
            start = f"({kind.c_type} *)(void *)({start})"
        alive = [
            self._labels[node.name]
            for node in self.graph.nodes[buffer.first : buffer.last + 1]
            if node.name in self._labels
        ]
        about = f"{c.count(buffer.bytes)} B, live {alive[0]}..{alive[-1]}"
        return f"{kind.c_type} *const {name} = {start};", about

    def _place(self, tensor: str) -> str:
        """C expression of a tensor's address."""
        place = self.plan.memory.places[tensor]
        if place.kind == "arena":
            return self._pointers[place.name]
        ports = self.inputs if place.kind == "input" else self.outputs
        return next(port.identifier for port in ports if port.tensor == place.name)

    def _call(self, layer: Layer) -> Step:
        node, label = layer.node, self._labels[layer.node.name]
        inputs = [self._place(name) for name in node.inputs]
        output = self._place(node.output)
        offset = self.plan.memory.scratch.get(node.name)
        scratch = "NULL" if offset is None else f"bytes + {offset}" if offset else "bytes"
        pointers = inputs
        if node.op.variadic:
            pointers = [f"(const int8_t *const[]){{{', '.join(inputs)}}}"]
        arguments = [f"&{label}", *pointers, output, scratch]
        size = self.graph.output_type(node).bytes
        name = c.clip(c.comment(node.name), 50)
        return Step(
            comment=f'{label} {node.op.kind} "{name}"',
            statements=[
                *c.call(f"{c.INDENT}CQ_TRY({layer.kernel.symbol}", arguments, ");"),
                f"{c.INDENT}CQ_TRACE({layer.index}, {output}, {size});",
            ],
        )

    def _layer_text(self, layer: Layer) -> LayerText:
        node, label = layer.node, self._labels[layer.node.name]
        inputs, output = self.graph.input_types(node), self.graph.output_type(node)
        params = node.op.c_params(node.params, inputs, output, layer.packed)
        prefix = f"{self.name}_{label}"
        tables = [Table(symbol=f"{prefix}_{a.name}", array=a) for a in c_arrays(params)]
        return LayerText(
            label=label,
            banner=self._layer_banner(layer, tables),
            params=f"struct cq_{node.op.kind}_params",
            fields=c.fields({key: _value(value, prefix) for key, value in params.items()}),
            tables=tables,
            heading=f'{label} {node.op.kind} "{c.clip(c.comment(node.name), 60)}"',
        )

    def _layer_banner(self, layer: Layer, tables: Sequence[Table]) -> list[str]:
        node, weights = layer.node, layer.node.weights
        shapes = ", ".join(map(str, self.graph.input_types(node)))
        title = f'---- {self._labels[layer.node.name]} ---- {node.op.kind} "{c.comment(node.name)}"'
        shapes = f"{shapes} -> {self.graph.output_type(node)}"
        one_line = f"{title}    {shapes}"
        facts = []
        if weights is not None and layer.packed is not None:
            facts.append(("weights", _about_weights(layer)))
        if layer.note:
            facts.append(("note", c.comment(layer.note)))
        sizes = [f"{t.array.name} {c.count(t.array.bytes)} B" for t in tables if not _is_weights(t)]
        if sizes:
            facts.append(("tables", ", ".join(sizes)))
        if layer.macs:
            skipped = layer.macs - layer.macs_done
            facts.append(
                (
                    "work",
                    f"{c.count(layer.macs)} MAC, {c.count(layer.macs_done)} done, "
                    f"{c.count(skipped)} skipped",
                )
            )
        if layer.scratch_bytes:
            facts.append(("scratch", f"{c.count(layer.scratch_bytes)} B"))
        facts.append(("kernel", layer.kernel.symbol))
        lines = [one_line] if len(one_line) <= _RULE else [*c.wrap(title, "", "  "), f"  {shapes}"]
        for key, text in facts:
            lines += c.wrap(text, f"{key:<10} ", " " * 11)
        return lines


def _about_weights(layer: Layer) -> str:
    weights, packed = layer.node.weights, layer.packed
    assert weights is not None
    assert packed is not None
    grid = f", gap {weights.gap}" if weights.gap else ""
    if weights.levels is not None:
        grid = f", {len(weights.levels)} levels"
    others = [
        f"{name} {c.count(size)} B" for name, size in layer.costs.items() if name != packed.packing
    ]
    rejected = f"   ({', '.join(others)})" if others else ""
    return (
        f"{weights.bits}-bit{grid}, {c.percent(weights.zeros)} zero, "
        f"{packed.packing} {c.count(packed.bytes)} B{rejected}"
    )


def _is_weights(table: Table) -> bool:
    return table.array.name == "weights"


def _value(value: CValue, prefix: str) -> c.Value:
    """A field of a parameter struct as C."""
    if value is None:
        return "NULL"
    if isinstance(value, CArray):
        return f"{prefix}_{value.name}"
    if isinstance(value, tuple):
        return tuple(map(int, value))
    if isinstance(value, Mapping):
        return {key: _value(item, prefix) for key, item in value.items()}
    return c.number(int(value))
