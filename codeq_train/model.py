# SPDX-License-Identifier: Apache-2.0
"""The prepared model: the user's network as a list of layers, still an ordinary `nn.Module`."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from codeq_compile.errors import InputError, ModelError, SpecViolation
from codeq_train.budget import STEERED, Budget
from codeq_train.config import QuantConfig
from codeq_train.layers import Input, Layer, Weighted


class QuantizedModel(nn.Module):
    """What `prepare` returns: call it, train it, save its `state_dict` like any module.

    Layers keep the names they had in the user's model, below `body`.

    Parameters
    ----------
    layers : sequence of Layer
        In execution order, inputs first.
    outputs : mapping of str to str
        Name of each output and the tensor it is.
    config : QuantConfig
    structure : {Tensor, tuple, dict}
        How calls return the outputs: alone, or all in a tuple or a dict.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        outputs: Mapping[str, str],
        config: QuantConfig,
        *,
        structure: type,
    ) -> None:
        super().__init__()
        self.config = config
        self.outputs = dict(outputs)
        self.structure = structure
        self.budget: Budget | None = None
        limits = {name: config.budgets.limit(name) for name in STEERED}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        quantizers = [layer.quantizer for layer in layers if isinstance(layer, Weighted)]
        prunes = any(each is not None and each.channels is not None for each in quantizers)
        ram = config.budgets.limit("ram") if prunes else None
        if given or ram is not None:
            self.budget = Budget(given, config.budgets.rate, len(quantizers), ram=ram)
        self.body = nn.Module()
        self.layers = tuple(layers)
        for layer in layers:
            _register(self.body, layer.origin.name, layer)
        self._last_use = _last_uses(layers, set(self.outputs.values()))
        self.register_state_dict_post_hook(_store_once)  # type: ignore[no-untyped-call]  # torch leaves it so

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        for again, first in _shared(self):
            for name in [name for name in state_dict if name.startswith(prefix + first)]:
                other = prefix + again + name.removeprefix(prefix + first)
                state_dict.setdefault(other, state_dict[name])
        super()._load_from_state_dict(state_dict, prefix, *rest)

    @property
    def inputs(self) -> tuple[Input, ...]:
        """Input layers, in the order of the call's arguments."""
        return tuple(layer for layer in self.layers if isinstance(layer, Input))

    def weighted(self) -> Iterator[Weighted]:
        """Layers with weights, in execution order."""
        return (layer for layer in self.layers if isinstance(layer, Weighted))

    @property
    def is_frozen(self) -> bool:
        """The last phase has begun."""
        return all(layer.use_running_statistics for layer in self.weighted())

    def schedule(self, steps: int) -> None:
        """Say how many steps come before `freeze`, over which budgets tighten; none: nothing."""
        if self.budget is not None:
            self.budget.schedule(steps)

    def forward(self, *inputs: Tensor) -> Any:
        """Fake-quantized outputs for a batch, in the shapes and structure of the user's model."""
        values: dict[str, Tensor] = {}
        for layer, _ in self.run(*inputs, values=values):
            for name in self._last_use.get(layer.origin.name, ()):
                del values[name]
        results = {name: values[tensor] for name, tensor in self.outputs.items()}
        if self.structure is dict:
            return results
        return tuple(results.values()) if self.structure is tuple else results["output"]

    def run(
        self, *inputs: Tensor, values: dict[str, Tensor] | None = None
    ) -> Iterator[tuple[Layer, Tensor]]:
        """Each layer with its output, as it is computed.

        Raises
        ------
        InputError
            An input is no tensor, or their number or a sample's shape is not the captured one.
        ModelError
            Training diverged: a grid of activations is no number any more.
        """
        values = {} if values is None else values
        given = self._checked(inputs)
        for layer in self.layers:
            name = layer.origin.name
            is_input = isinstance(layer, Input)
            operands = [given[name]] if is_input else [values[n] for n in layer.origin.inputs]
            try:
                values[name] = layer(*operands)
            except (SpecViolation, ValueError):
                check_finite(self)
                raise
            yield layer, values[name]

    def _checked(self, inputs: tuple[Tensor, ...]) -> dict[str, Tensor]:
        layers = self.inputs
        check_tensors(inputs, count=len(layers))
        for layer, x in zip(layers, inputs, strict=True):
            if tuple(x.shape[1:]) != layer.origin.shape:
                raise InputError(
                    f'input "{layer.origin.name}" must have shape (batch, '
                    f"{', '.join(map(str, layer.origin.shape))}), not {tuple(x.shape)}"
                )
        return {layer.origin.name: x for layer, x in zip(layers, inputs, strict=True)}


def _shared(model: nn.Module) -> Iterator[tuple[str, str]]:
    """What stands below two names, such as a grid of several tensors: (name, first name).

    Names of modules end with a dot.
    """
    modules: dict[nn.Module, str] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        first = modules.setdefault(module, name)
        if first != name:
            yield f"{name}.", f"{first}."
    parameters: dict[nn.Parameter, str] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        first = parameters.setdefault(parameter, name)
        if first != name:
            yield name, first


def _store_once(
    model: nn.Module, state_dict: dict[str, Any], prefix: str, metadata: dict[str, Any]
) -> None:
    """Formats such as safetensors refuse to store a tensor under two names."""
    for again, _ in _shared(model):
        for name in [name for name in state_dict if name.startswith(prefix + again)]:
            del state_dict[name]


def check_prepared(model: nn.Module, caller: str) -> None:
    """Refuse a model that `prepare` did not return.

    Raises
    ------
    ModelError
        Naming the function that was called.
    """
    # not by its class: what hands attributes on, as a compiled module does, will do
    if not isinstance(getattr(model, "config", None), QuantConfig):
        raise unprepared(model, caller)


def unprepared(model: nn.Module, caller: str) -> ModelError:
    """What to raise where a function met a model that `prepare` did not return."""
    return ModelError(
        f"{caller} needs the model that prepare() returned, not a {type(model).__name__}: "
        "prepare the whole network, with everything that surrounds it"
    )


def check_finite(model: QuantizedModel) -> None:
    """Refuse a model whose training diverged.

    Raises
    ------
    ModelError
        Weights, statistics of BatchNorm or grids of the named layers are not finite.
    """
    names = [f'"{layer.origin.name}"' for layer in model.layers if not _is_finite(layer)]
    if names:
        raise ModelError(
            f"training diverged: weights, statistics or grids of {', '.join(names)} are not finite "
            "numbers. Lower the learning rate, clip the gradients, or go back to an earlier "
            "checkpoint; check the training data for such values too"
        )


def _is_finite(layer: Layer) -> bool:
    values: list[Tensor] = [*layer.parameters()]
    if isinstance(layer, Weighted) and layer.norm is not None:
        values += layer.norm.buffers()
    if layer.grid is not None:
        # it is learned as a logarithm: a step may have left float32 either way
        values += [layer.grid.scale(), 1 / layer.grid.scale()]
    return all(bool(value.isfinite().all()) for value in values)


def check_tensors(inputs: Sequence[object], *, count: int) -> None:
    """Refuse inputs that are not `count` tensors, one an argument.

    Raises
    ------
    InputError
    """
    for x in inputs:
        if not isinstance(x, Tensor):
            raise InputError(
                f"an input is a {type(x).__name__}: give tensors, each as an argument of its own"
            )
    if len(inputs) != count:
        raise InputError(f"the model takes {count} inputs, not {len(inputs)}")


def _register(root: nn.Module, path: str, layer: Layer) -> None:
    *parents, leaf = path.split(".")
    for name in parents:
        if not hasattr(root, name):
            root.add_module(name, nn.Module())
        root = getattr(root, name)
    root.add_module(leaf, layer)


def _last_uses(layers: Sequence[Layer], kept: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Tensors that nothing reads after a layer, so that evaluation holds few of them at a time."""
    last: dict[str, str] = {}
    for layer in layers:
        for name in layer.origin.inputs:
            last[name] = layer.origin.name
    uses: dict[str, tuple[str, ...]] = {}
    for name, layer_name in last.items():
        if name not in kept:
            uses[layer_name] = (*uses.get(layer_name, ()), name)
    return uses
