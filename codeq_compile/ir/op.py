# SPDX-License-Identifier: Apache-2.0
"""What every op answers: shape rule, integers, golden, kernel families, C parameters.

One op is one module of `codeq_compile.ops`; this file holds the questions only.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from numpy.typing import NDArray

from codeq_compile.errors import ModelError
from codeq_compile.ir.types import DType, Packed, Range, TensorType, Weights

if TYPE_CHECKING:
    from codeq_compile.ir.graph import Node

Array = NDArray[Any]

Params = TypeVar("Params")


@dataclass(frozen=True, slots=True, kw_only=True)
class CArray:
    """A constant array of the emitted C, referred to by name in a parameter struct.

    Parameters
    ----------
    name : str
        Suffix of the symbol, e.g. ``"bias"`` for ``kws_l02_bias``.
    c_type : str
        Element type, e.g. ``"int16_t"``.
    data : int array of shape (n,)
    """

    name: str
    c_type: str
    data: Array = field(repr=False)

    @property
    def bytes(self) -> int:
        sizes = {"int8_t": 1, "uint8_t": 1, "int16_t": 2, "uint16_t": 2, "int32_t": 4}
        return len(self.data) * sizes[self.c_type]


# A field of a C parameter struct: number, table, {a, b, c}, nested struct, or NULL.
CValue = int | CArray | tuple[int, ...] | Mapping[str, "CValue"] | None


def c_arrays(params: Mapping[str, CValue]) -> Iterator[CArray]:
    """The tables of a parameter struct and of the structs in it, in order."""
    for value in params.values():
        if isinstance(value, CArray):
            yield value
        elif isinstance(value, Mapping):
            yield from c_arrays(value)


Rows = tuple[int, int]
"""The first row of an image, and the one behind the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """What computes some rows of an output.

    Parameters
    ----------
    op : Op
        The same op, with the padding that is left above and below these rows.
    params
        Its integers.
    reads : tuple of Rows
        Of each input.
    """

    op: "Op[Any]"
    params: Any = field(repr=False)
    reads: tuple[Rows, ...]


class Op(ABC, Generic[Params]):
    """One operation: immutable hyper-parameters as fields, answers as methods.

    `Params` is the op's dataclass of integers: everything that simulation and C need beyond the
    activations themselves, computed once by `lower`.

    Arrays in `simulate` carry a leading batch dimension; shapes in `TensorType` do not.
    """

    __slots__ = ()

    kind: ClassVar[str]
    """Name of the op, its module, its C header and its NUMERICS section."""

    is_view: ClassVar[bool] = False
    """The output is the input's bytes: no kernel, no copy (reshape)."""

    in_place: ClassVar[tuple[int, ...]] = ()
    """Inputs whose buffer may be the output's: C reads element i before it writes element i."""

    variadic: ClassVar[bool] = False
    """C takes the inputs as one array of pointers (concat)."""

    has_weights: ClassVar[bool] = False
    """The node must carry `Weights`; the kernel's name has a width and a packing."""

    has_table: ClassVar[bool] = False
    """The node must carry a table of 256 int8 values."""

    packings: ClassVar[tuple[str, ...]] = ()
    """Codecs that kernels of this op can compute from, in order of preference at equal bytes."""

    @abstractmethod
    def infer(self, node: "Node", inputs: tuple[TensorType, ...]) -> TensorType:
        """Shape and dtype of the output; `grid` is ignored by the caller except where fixed.

        Raises
        ------
        SpecViolation
            A constraint `[<kind>-C<n>]` is broken.
        """

    @abstractmethod
    def lower(self, node: "Node", inputs: tuple[TensorType, ...], output: TensorType) -> Params:
        """The integers of this node: multipliers, exponents, folded biases, limits."""

    @abstractmethod
    def simulate(self, params: Params, *inputs: Array) -> Array:
        """Integer golden, equal to every C kernel of the op bit for bit.

        An op with state takes the samples as consecutive inferences, the first one after a reset.

        Parameters
        ----------
        params
            What `lower` returned.
        inputs : arrays of shape (batch, *shape)

        Returns
        -------
        array of shape (batch, *output shape)
        """

    @abstractmethod
    def c_params(
        self,
        params: Params,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
    ) -> Mapping[str, CValue]:
        """Fields of `struct cq_<kind>_params`, same names and order as include/codeq/<kind>.h."""

    def families(self, params: Params) -> tuple[str, ...]:
        """Kernel families of kernels.inc that may serve this node, the most special first."""
        return (self.kind,)

    def unfit_families(self, params: Params) -> Mapping[str, str]:
        """Families that cannot serve this node, and why."""
        return {}

    def act(self, params: Params) -> str:
        """Element type of the input, as kernels.inc has it."""
        return "s8"

    def state_bytes(self, params: Params) -> int:
        """Bytes that live from one inference to the next, in the caller's memory."""
        return 0

    def state_fill(self, params: Params) -> int:
        """Byte of which the state consists before the first inference, 0 to 255."""
        return 0

    def macs(self, params: Params, output: TensorType) -> int:
        """Multiply-accumulates of one inference when nothing is skipped."""
        return 0

    def scratch_bytes(
        self,
        params: Params,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str = "ref",
    ) -> int:
        """Bytes of scratch that kernels of `family` for `isa` use; a multiple of 4."""
        return 0

    def trips(
        self,
        params: Params,
        inputs: tuple[TensorType, ...],
        output: TensorType,
        packed: Packed | None,
        family: str,
        isa: str,
    ) -> Mapping[str, float]:
        """How often each part of the loop nest of such a kernel is executed in one call.

        `codeq_compile.cost` knows what each costs. Names that begin with "nonzeros" are
        proportional to the weights that are not 0, "stream bytes" to the bytes in flash.
        """
        return {"elements": output.elements}

    def output_range(
        self,
        params: Params,
        ranges: tuple[Range, ...],
        inputs: tuple[TensorType, ...],
        output: TensorType,
    ) -> Range:
        """Values that each channel of the output can take, if its inputs stay in `ranges`.

        By default every value of the type. Whoever answers may rely on `accumulator_bound`.
        """
        return Range.of(output)

    def overwrites(self, params: Params) -> tuple[int, ...]:
        """Inputs whose buffer may be this node's output: by default those of the op."""
        return self.in_place

    def with_kernel(self, params: Params, family: str, isa: str) -> Params:
        """Parameters that know which kernel was chosen, where that matters."""
        return params

    def overwriting(self, params: Params, family: str, isa: str) -> Params:
        """Parameters of a kernel that takes its input's place, where that costs it instructions.

        Others return `params` as they are.
        """
        return params

    def with_scratch(self, params: Params, limit: int) -> Params:
        """Parameters of kernels that may use `limit` bytes of scratch where that makes them faster.

        Others return `params` as they are.
        """
        return params

    def band(
        self, params: Params, inputs: tuple[TensorType, ...], output: TensorType, rows: Rows
    ) -> Band | None:
        """How the same kernel computes some rows of an output image; None where it cannot."""
        return None

    def accumulator_bound(self, params: Params) -> Array | None:
        """Largest magnitude of the int32 accumulator per channel, left shift included. [N4.3]

        int64 array; None where the op's section of NUMERICS proves the bound once for all models.
        """
        return None


_REGISTRY: dict[str, type[Op[Any]]] = {}
_AnyOp = TypeVar("_AnyOp", bound=Op[Any])


def register(kind: str) -> Callable[[type[_AnyOp]], type[_AnyOp]]:
    """Class decorator: make an op known by its kind, the name used in files and kernels.inc."""

    def add(cls: type[_AnyOp]) -> type[_AnyOp]:
        assert kind not in _REGISTRY, f"two ops are called {kind}"
        assert is_dataclass(cls)
        cls.kind = kind
        _REGISTRY[kind] = cls
        return cls

    return add


def op_type(kind: str) -> type[Op[Any]]:
    """The class of an op.

    Raises
    ------
    ModelError
        The kind is unknown to this version.
    """
    if kind not in _REGISTRY:
        known = ", ".join(op_kinds())
        raise ModelError(f'unknown op "{kind}"; this version of codeq knows {known}')
    return _REGISTRY[kind]


def op_kinds() -> tuple[str, ...]:
    """Names of all ops, sorted."""
    return tuple(sorted(_REGISTRY))


__all__ = [
    "Array",
    "Band",
    "CArray",
    "CValue",
    "DType",
    "Op",
    "Rows",
    "Weights",
    "c_arrays",
    "op_kinds",
    "op_type",
    "register",
]
