# SPDX-License-Identifier: Apache-2.0
"""What things are called in the emitted C: layers, buffers, inputs and outputs."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from codeq_compile.emit import format as c
from codeq_compile.errors import ModelError
from codeq_compile.ir import Node
from codeq_compile.memory.streams import banded
from codeq_compile.plan import Layer, Plan, operands

# A model may not be called like a header that its own files or the runtime include: its folder is
# searched for headers, so <string.h> would become the model's.
_FOREIGN_HEADERS = """
assert complex ctype errno fenv float inttypes iso646 limits locale math setjmp signal stdalign
stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string tgmath threads time uchar
wchar wctype arm_acle arm_mve harness host
"""

# Targets of CMake's own, which the model's CMakeLists.txt cannot add.
_CMAKE_TARGETS = "all clean depend edit_cache help install package rebuild_cache test"

_LOCALS = ("arena", "state", "bytes", "status", "vectors", "is_equal", "i")
"""Other names in the scopes where inputs and outputs are parameters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of one library.

    Parameters
    ----------
    model : str
        Prefix of every symbol and stem of every file.
    layers : mapping of str to str
        ``l02`` by layer name; views have none.
    buffers : mapping of str to str
        ``t02`` by buffer of the arena, after the layer that writes it first; inputs that stand
        there keep their own name.
    tensors : mapping of str to str
        By graph input and output: the parameter of ``<model>_run``, or part of the function that
        says where it stands in the arena; by constant: the symbol of its table.
    params : mapping of str to mapping of shape to str
        ``l02_first``, by layer of a stream and `Banded.shape`: parameters of some of its rows.
    """

    model: str
    layers: Mapping[str, str]
    buffers: Mapping[str, str]
    tensors: Mapping[str, str]
    params: Mapping[str, Mapping[object, str]]

    @property
    def prefix(self) -> str:
        """Of macros."""
        return self.model.upper()

    def table(self, layer: Node, suffix: str) -> str:
        """Symbol of a constant array."""
        return f"{self.model}_{self.layers[layer.name]}_{suffix}"


def choose(plan: Plan) -> Names:
    """Names for a plan.

    Raises
    ------
    ModelError
        The model's name belongs to C, to the runtime or to the test programs.
    """
    model = plan.graph.name
    _check_model_name(model)
    digits = max(2, len(str(len(plan.layers))))
    layers = {layer.node.name: f"l{layer.index:0{digits}}" for layer in plan.layers}
    params = {
        layer.node.name: _params(plan, layer, layers[layer.node.name])
        for layer in plan.layers
        if layer.calls
    }
    structs = [*layers.values(), *(name for each in params.values() for name in each.values())]
    buffers: dict[str, str] = {}
    for layer in plan.layers:
        place = plan.memory.places[layer.node.output]
        if place.kind == "arena":
            buffers.setdefault(place.name, "t" + layers[layer.node.name][1:])
    tensors: dict[str, str] = {}
    for tensor in (*plan.graph.inputs, *plan.graph.outputs):
        taken = {*_LOCALS, *structs, *buffers.values(), *tensors.values()}
        word = c.identifier(tensor)
        if re.fullmatch(rf"{model}_(run|selftest|labels|l\d+_.*)", word):
            word = f"t_{word}"  # a symbol of this library
        tensors[tensor] = c.identifier(word, taken)
        if tensor in plan.graph.inputs and plan.memory.places[tensor].kind == "arena":
            buffers[tensor] = tensors[tensor]
    for layer in plan.layers:
        for tensor, array in operands(plan.graph, layer.node):
            tensors[tensor] = f"{model}_{layers[layer.node.name]}_{array.name}"
    return Names(model=model, layers=layers, buffers=buffers, tensors=tensors, params=params)


def _params(plan: Plan, layer: Layer, label: str) -> dict[object, str]:
    """The layer's own name for the shape that most of its bands have."""
    bands = [banded(plan.graph, layer.node, call.rows) for call in layer.calls]
    shapes = [band.shape for band in bands if band is not None]
    usual, _ = Counter(shapes).most_common(1)[0]
    found: dict[object, str] = {}
    for call, shape in zip(layer.calls, shapes, strict=True):
        if shape == usual:
            found[shape] = label
        elif shape == shapes[0]:
            found[shape] = f"{label}_first"
        elif shape == shapes[-1]:
            found[shape] = f"{label}_last"
        else:
            found.setdefault(shape, f"{label}_row{call.rows[0]}")
    return found


def _check_model_name(name: str) -> None:
    if name in _CMAKE_TARGETS.split():
        raise ModelError(
            f'a model cannot be called "{name}": it is a target of CMake\'s own; '
            "choose another with --name"
        )
    if name in _FOREIGN_HEADERS.split() or name.startswith(("cq_", "codeq")) or name == "cq":
        raise ModelError(
            f'a model cannot be called "{name}": {name}.h or its symbols belong to C or to the '
            "runtime; choose another with --name"
        )
    if len(name) > c.MAX_IDENTIFIER:
        raise ModelError(
            f"the model's name {name} is the prefix of every symbol and has more than "
            f"{c.MAX_IDENTIFIER} characters; choose a shorter one with --name"
        )
