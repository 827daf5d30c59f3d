# SPDX-License-Identifier: Apache-2.0
"""Layers as C: the banner, the parameters, the tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from codeq_compile.emit import format as c
from codeq_compile.emit.names import Names
from codeq_compile.ir.op import CArray, CValue, c_arrays
from codeq_compile.memory.streams import distinct_bands
from codeq_compile.plan import Layer, Plan, operands


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A constant array of `<name>_weights.c`."""

    symbol: str
    array: CArray

    @property
    def declaration(self) -> str:
        return f"const {self.array.c_type} {self.symbol}[{len(self.array.data)}]"

    @property
    def attributes(self) -> str:
        """Behind the declaration; kernels load several weights at a time where a word begins."""
        aligned = "CQ_WORD_ALIGNED " if self.array.name == "weights" else ""
        return f"{aligned}CQ_WEIGHTS_SECTION"

    @property
    def rows(self) -> list[str]:
        return c.rows(self.array.data, self.array.c_type)

    @property
    def is_weights(self) -> bool:
        return self.array.name == "weights"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerText:
    """What is printed of a layer.

    Parameters
    ----------
    label : str
        ``l02``.
    heading : str
        One line for the file of weights.
    banner : list of str
        Lines of the comment above the parameters.
    struct : str
        Type of the parameters.
    params : mapping of str to list of str
        Lines of their initialisers by name: one, or in a stream one for each shape of its bands.
    tables : list of Table
    """

    label: str
    heading: str
    banner: list[str]
    struct: str
    params: Mapping[str, list[str]]
    tables: list[Table]


def layer_text(plan: Plan, layer: Layer, names: Names) -> LayerText:
    """Everything that is printed of one layer."""
    node, graph = layer.node, plan.graph
    params = node.op.c_params(
        node.params, graph.input_types(node), graph.output_type(node), layer.packed
    )
    label = names.layers[node.name]
    structs = {label: params}
    if layer.calls:
        structs = {
            names.params[node.name][part.shape]: part.node.op.c_params(
                part.node.params, part.inputs, part.output, layer.packed
            )
            for part in distinct_bands(graph, node, layer.calls)
        }
    arrays = [*c_arrays(params), *(array for _, array in operands(graph, node))]
    tables = [Table(symbol=names.table(node, array.name), array=array) for array in arrays]
    return LayerText(
        label=label,
        heading=heading(layer, names),
        banner=_banner(plan, layer, names, tables),
        struct=f"struct cq_{node.op.kind}_params",
        params={
            name: c.fields({key: _value(value, layer, names) for key, value in values.items()})
            for name, values in structs.items()
        },
        tables=tables,
    )


def heading(layer: Layer, names: Names) -> str:
    """``l02 conv2d "features.3.pw"``, for comments of one line."""
    node = layer.node
    return f'{names.layers[node.name]} {node.op.kind} "{c.clip(c.comment(node.name), 60)}"'


def _banner(plan: Plan, layer: Layer, names: Names, tables: Sequence[Table]) -> list[str]:
    node = layer.node
    title = f'---- {names.layers[node.name]} ---- {node.op.kind} "{c.comment(node.name)}"'
    inputs = ", ".join(map(str, plan.graph.input_types(node)))
    shapes = f"{inputs} -> {plan.graph.output_type(node)}"
    lines = [f"{title}    {shapes}"]
    if len(lines[0]) > c.COMMENT_WIDTH:
        lines = [*c.wrap(title, "", "  "), *c.wrap(shapes, "  ", "  ")]
    for key, text in _facts(layer, tables):
        lines += c.wrap(text, f"{key:<10} ", " " * 11)
    return lines


def _facts(layer: Layer, tables: Sequence[Table]) -> list[tuple[str, str]]:
    """What was decided for a layer and what it costs."""
    facts = []
    if layer.packed is not None:
        facts.append(("weights", _about_weights(layer)))
    if layer.note:
        facts.append(("note", c.comment(layer.note)))
    sizes = [f"{t.array.name} {c.count(t.array.bytes)} B" for t in tables if not t.is_weights]
    if sizes:
        facts.append(("tables", ", ".join(sizes)))
    if layer.macs:
        done, skipped = c.count(layer.macs_done), c.count(layer.macs - layer.macs_done)
        facts.append(("work", f"{c.count(layer.macs)} MAC, {done} done, {skipped} skipped"))
    if layer.calls:
        facts.append(("stream", _about_bands(layer)))
    if layer.scratch_bytes:
        facts.append(("scratch", f"{c.count(layer.scratch_bytes)} B"))
    facts.append(("kernel", layer.kernel.symbol))
    return facts


def _about_bands(layer: Layer) -> str:
    height = layer.calls[-1].rows[1]
    most = max(end - first for first, end in (call.rows for call in layer.calls))
    return f"{height} rows in {len(layer.calls)} calls of at most {most}"


def _about_weights(layer: Layer) -> str:
    weights, packed = layer.node.weights, layer.packed
    assert weights is not None
    assert packed is not None
    words = [f"{weights.bits}-bit"]
    if weights.gap:
        words.append(f"gap {weights.gap}")
    if weights.levels is not None:
        words.append(f"{len(weights.levels)} levels")
    words += [f"{c.percent(weights.zeros)} zero", f"{packed.packing} {c.count(packed.bytes)} B"]
    others = [f"{name} {c.count(size)} B" for name, size in layer.costs.items()]
    others.remove(words[-1])
    return ", ".join(words) + (f"   ({', '.join(others)})" if others else "")


def _value(value: CValue, layer: Layer, names: Names) -> c.Value:
    """A field of a parameter struct as C."""
    if value is None:
        return "NULL"
    if isinstance(value, CArray):
        return names.table(layer.node, value.name)
    if isinstance(value, tuple):
        return tuple(map(int, value))
    if isinstance(value, Mapping):
        return {key: _value(item, layer, names) for key, item in value.items()}
    return c.number(int(value))
