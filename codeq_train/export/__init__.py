# SPDX-License-Identifier: Apache-2.0
"""From a prepared model to the compiler's IR: integers, grids and channels-last memory.

torch keeps channels first, the IR last.  No transpose is ever emitted: weights adapt to the order
in which elements stand (`layout`), and a model in which that is impossible is refused.
"""

import importlib
import itertools
import pkgutil
import warnings
from collections.abc import Sequence
from pathlib import Path

from torch import nn

from codeq_compile import passes
from codeq_compile import target as targets
from codeq_compile.errors import InputError, ModelError, UnsupportedOp
from codeq_compile.ir import Graph, save, verify
from codeq_compile.plan import plan
from codeq_train import layers as kinds
from codeq_train import layout as layouts
from codeq_train.export.inputs import to_graph_inputs
from codeq_train.export.state import Export
from codeq_train.layout import Layout
from codeq_train.model import QuantizedModel, check_finite, unprepared

# handlers are discovered, not listed: a new file is enough
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["convert", "export", "to_graph_inputs"]


def export(
    model: nn.Module,
    path: Path | str | None = None,
    *,
    name: str = "model",
    labels: Sequence[str] = (),
) -> Graph:
    """The integers of a trained model as a graph, written to a `.cq` file if `path` is given.

    Warns where weights or RAM are above their budget, which `freeze` would have met.

    Parameters
    ----------
    model : QuantizedModel
        From `prepare`, in evaluation mode.
    path : path, optional
        Of the `.cq` file.
    name : str
        A lower-case C identifier: prefix of every symbol of the emitted library.
    labels : sequence of str
        Class names of the first output.

    Returns
    -------
    Graph
        Verified.  Images are (h, w, c), sequences (1, length, c); the provenance says how each
        input's torch axes are ordered (`to_graph_inputs` does it).

    Raises
    ------
    UnsupportedOp
        Layers that have no integer form as they stand; all are listed.
    ModelError
        The model was not prepared, is in training mode, or holds values that are not finite: all
        layers that do are named.
    InputError
        The labels are no strings, or not as many as the first output has values.
    """
    graph, _ = convert(model, name=name, labels=labels)
    assert isinstance(model, QuantizedModel)
    _warn_of_budgets(model, graph)
    if path is not None:
        save(graph, Path(path))
    return graph


def _warn_of_budgets(model: QuantizedModel, graph: Graph) -> None:
    """Training only comes near a budget: say so where nothing cut the rest."""
    limits = model.config.budgets
    weights, ram = limits.limit("weights"), limits.limit("ram")
    if weights is None and ram is None:
        return
    lowered, target = passes.run(graph), targets.load(limits.target)
    decided = plan(lowered, target, limits.packing, weigh_code=False)
    flash = decided.weights_bytes + decided.tables_bytes + decided.padding_bytes
    needed = [("weights and tables", flash, weights)]
    if ram is not None:
        within = plan(lowered, target, limits.packing, ram=ram, weigh_code=False)
        needed.append(("RAM", within.ram_bytes, ram))
    missed = [
        f"{what}: {amount} bytes, {amount - limit} more than the budget of {limit}"
        for what, amount, limit in needed
        if limit is not None and amount > limit
    ]
    if missed:
        warnings.warn(
            f"{'; '.join(missed)}: "
            + (
                "call land(model) after the last step, which cuts what the last ones added"
                if model.is_frozen
                else "call freeze(model) for the last quarter of the training, and land(model) "
                "after the last step, which cut what is missing"
            ),
            stacklevel=3,
        )


def convert(
    model: nn.Module, *, name: str = "model", labels: Sequence[str] = ()
) -> tuple[Graph, dict[str, Layout]]:
    """The graph as `export` gives it, and the order in memory of each layer's output, by name."""
    if not isinstance(model, QuantizedModel):
        raise unprepared(model, "export")
    if model.training:
        raise ModelError("the model is in training mode: export(model.eval(), …)")
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise InputError(f"labels must be a list of strings, not {labels!r}")
    check_finite(model)
    _check_quantized(model)
    graph, orders = _best_layout(model, name, tuple(labels))
    verify(graph)
    classes = graph.tensors[graph.outputs[0]].shape[-1]
    if labels and len(labels) != classes:
        raise InputError(f"{len(labels)} labels were given for {classes} outputs")
    return graph, orders


def _check_quantized(model: QuantizedModel) -> None:
    reasons = []
    for layer in model.layers:
        off = isinstance(layer, kinds.Weighted) and not layer.enabled
        if off or (layer.grid is not None and not layer.grid.enabled):
            reasons.append(
                f'layer "{layer.origin.name}": its quantization is switched off: '
                "set_quantization(model, weights=True, activations=True), and train with it"
            )
    if reasons:
        raise UnsupportedOp(reasons)


def _best_layout(
    model: QuantizedModel, name: str, labels: tuple[str, ...]
) -> tuple[Graph, dict[str, Layout]]:
    """Try the orders in which the inputs may come until every layer finds what it needs."""
    first: UnsupportedOp | None = None
    choices = [layouts.candidates(layer.origin.shape) for layer in model.inputs]
    for chosen in itertools.product(*choices):
        state = Export(model, name, labels, chosen)
        try:
            return state.run(), {layer: value.layout for layer, value in state.values.items()}
        except UnsupportedOp as error:
            first = first or error
    assert first is not None
    raise first
