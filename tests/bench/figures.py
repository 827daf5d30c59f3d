# SPDX-License-Identifier: Apache-2.0
"""Figures of kernels and networks as plain data: ours, those before, and those of CMSIS-NN."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

FOLDER = Path(__file__).resolve().parent
CURRENT = FOLDER / "figures.json"
BEFORE = FOLDER / "figures_before.json"
"""As `CURRENT` was before the kernels of issue 3, which it is compared with."""
TRADES = FOLDER / "trades.json"
"""What bytes cost, by trades.py."""


class NetworkFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One network on one board.

    Parameters
    ----------
    board, compiler, network, variant : str
        Of targets/, "gcc" or "zig", of `tests.networks.NETWORKS` and `VARIANTS`.
    model : str
        Digest of the graph: figures of two versions can be compared only if they are of one graph.
    instructions : int
        Of the whole call of ``<name>_run``, glue included.
    cycles : list of int [low, likely, high]
        Estimated.
    code, flash, ram : int
        Bytes: machine code of the model; that, weights, tables and constants; arena with scratch,
        input and output.
    layers : dict of str to int
        Instructions.
    kernels : int
        Bytes of `code` that are functions of runtime_c; 0 in `BEFORE`, which did not count them.
    """

    board: str
    compiler: str
    network: str
    variant: str
    model: str
    instructions: int
    cycles: tuple[int, int, int]
    code: int
    flash: int
    ram: int
    layers: dict[str, int]
    kernels: int = 0


class KernelFigure(msgspec.Struct, frozen=True, kw_only=True):
    """One kernel on one board, on a layer of MLPerf Tiny.

    Parameters
    ----------
    board, kernel, layer : str
        The layer without its width.
    packing : str, optional
    bits : int, optional
        Absent for ops without weights.
    macs : int
        Multiply-accumulates of the layer, zeros included; elements of its input where it has none.
    instructions : int
    """

    board: str
    kernel: str
    layer: str
    packing: str | None
    bits: int | None
    macs: int
    instructions: int


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured in one go.

    Parameters
    ----------
    compilers : dict of str to str
        Version by short name.
    optimization, emulator : str
    networks : tuple of NetworkFigure
    kernels : tuple of KernelFigure
        gcc's.
    """

    compilers: dict[str, str]
    optimization: str
    emulator: str
    networks: tuple[NetworkFigure, ...]
    kernels: tuple[KernelFigure, ...]

    def network(
        self, board: str, network: str, variant: str, compiler: str = "gcc"
    ) -> NetworkFigure | None:
        """The one of these four names."""
        return next(
            (
                each
                for each in self.networks
                if (each.board, each.network, each.variant, each.compiler)
                == (board, network, variant, compiler)
            ),
            None,
        )


class StreamFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A network with some layers computed some rows at a time, or none.

    Parameters
    ----------
    network, variant : str
        Of `tests.networks.NETWORKS` and `VARIANTS`.
    options : str
        Of the command line.
    ram, flash, code, instructions : int
        As in `NetworkFigure`.
    streams : list of str
    """

    network: str
    variant: str
    options: str
    ram: int
    flash: int
    code: int
    instructions: int
    streams: list[str]


class PackingFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A shared model on a board, packed as a user can ask for.

    Parameters
    ----------
    model, board, packing : str
    flash, instructions : int
        As in `NetworkFigure`.
    """

    model: str
    board: str
    packing: str
    flash: int
    instructions: int


class CoarseFigure(msgspec.Struct, frozen=True, kw_only=True):
    """A shared model with fewer bits for its weights.

    Parameters
    ----------
    model, packing : str
    limit : str, optional
        Of the bytes; absent for the model as it is.
    bytes : int
        Weights and tables.
    samples : int
    accuracy, same_answer : float
        Shares of the samples.
    """

    model: str
    packing: str
    limit: str | None
    bytes: int
    samples: int
    accuracy: float
    same_answer: float


class Trades(msgspec.Struct, frozen=True, kw_only=True):
    """What bytes cost: of RAM and flash in instructions, of weights in accuracy."""

    streams: tuple[StreamFigure, ...]
    packings: tuple[PackingFigure, ...]
    coarsened: tuple[CoarseFigure, ...]


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean and sample standard deviation."""

    mean: float
    sd: float


class MethodFigure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One method of training within one limit of bytes: a group of a sweep's `frontier.json`.

    Parameters
    ----------
    method : str
    weights : int
        The limit.
    seeds : list of int
    test, balanced : Spread
        Of the integers on the test set, shares of 1.
    float_test : Spread
        Of the float networks of these seeds.
    bytes : Spread
        Weights and tables.
    search : int, optional
        Number of this trial of a search; absent in the grid.
    """

    method: str
    weights: int
    seeds: list[int]
    test: Spread
    balanced: Spread
    float_test: Spread
    bytes: Spread
    search: int | None = None


class MethodPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One run."""

    method: str
    weights: int
    seed: int


class MethodFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A run that cannot succeed, and why."""

    point: MethodPoint
    message: str


class Methods(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep found, without its single runs."""

    recipe: str
    missing: tuple[MethodPoint, ...]
    groups: tuple[MethodFigure, ...]
    failures: tuple[MethodFailure, ...]


class CmsisLayer(msgspec.Struct, frozen=True, kw_only=True):
    """A row of cmsis_nn.toml, which says what its fields are."""

    network: str
    name: str
    layers: tuple[str, ...]
    macs: int
    m4: int
    m55: int
    m0: float
    m4_s4: int | None = None
    m55_s4: float | None = None


class Cmsis(msgspec.Struct, frozen=True, kw_only=True):
    """Contents of cmsis_nn.toml."""

    provenance: dict[str, Any]
    networks: dict[str, dict[str, float]]
    layer: tuple[CmsisLayer, ...]


def cmsis() -> Cmsis:
    """What CMSIS-NN executes."""
    return msgspec.convert(_toml("cmsis_nn.toml"), Cmsis)


def goals() -> dict[str, dict[str, dict[str, float]]]:
    """Instructions to stay below, in millions: by board, variant and network."""
    table: dict[str, dict[str, dict[str, float]]] = _toml("goals.toml")
    return table


def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads((FOLDER / name).read_text(encoding="utf-8"))


def read(path: Path = CURRENT) -> Figures:
    """Figures of a file."""
    return msgspec.json.decode(path.read_bytes(), type=Figures)


def trades() -> Trades:
    """What trades.py measured."""
    return msgspec.json.decode(TRADES.read_bytes(), type=Trades)


def methods_file(recipe: str) -> Path:
    """Training methods side by side, by methods.py: one file a recipe."""
    return FOLDER / f"methods_{recipe}.json"


def methods(recipe: str) -> Methods:
    """What methods.py took from a sweep of a recipe."""
    return msgspec.json.decode(methods_file(recipe).read_bytes(), type=Methods)


def write(figures: Figures | Trades | Methods, path: Path = CURRENT) -> None:
    """One line a figure, so that a change of one is a change of one line."""
    path.write_text("\n".join(_lines(msgspec.to_builtins(figures))) + "\n", encoding="utf-8")


def _lines(data: dict[str, Any]) -> Iterator[str]:
    yield "{"
    for number, (name, value) in enumerate(data.items(), start=1):
        comma = "," if number < len(data) else ""
        if isinstance(value, (list, tuple)):
            rows = ",\n".join(json.dumps(row) for row in value)
            yield f'"{name}": [\n{rows}\n]{comma}'
        else:
            yield f'"{name}": {json.dumps(value)}{comma}'
    yield "}"
