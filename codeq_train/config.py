# SPDX-License-Identifier: Apache-2.0
"""Settings of quantization-aware training: typed, from YAML, overridable per layer by name."""

import difflib
import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin

import msgspec
import yaml

from codeq_compile import target as targets
from codeq_compile.budgets import parse_count, parse_size
from codeq_compile.errors import InputError

Bits = Annotated[int, msgspec.Meta(ge=2, le=8)]
NonNegative = Annotated[float, msgspec.Meta(ge=0.0)]


def _check_type(place: str, value: object, kind: Any) -> None:
    """For what msgspec does not look at: fields of a struct that Python code makes."""
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{place}: {error}") from error


STRUCTURES = r"^(none|channel|1x16|[1-9][0-9]*:[1-9][0-9]*)$"
"""Names of `LayerConfig.structure`."""


class LayerConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How the weights of one layer are quantized.

    Parameters
    ----------
    quantizer : {"codeq", "codeq_offset", "diffq", "ec2t", "ecq", "lsq", "magnitude"}
        CoDeQ with an integer gap; CoDeQ as published, with a real offset and a table of levels;
        widths learned through noise; three levels with learned centroids, and the ordinary grid,
        both assigned by distance and code length; that grid with a learned step alone, and with the
        smallest weights removed.
    bits : int, 2..8
        Width at the start; the largest width while bits are learned (ec2t always has 2).
    min_bits : int, 2..8
        Smallest width that learning may choose.
    learn_bits : bool
        Learn the width between `min_bits` and `bits` (codeq, codeq_offset, diffq).
    learn_dead_zone : bool
        Learn how wide the dead zone is (codeq, codeq_offset).
    range : {"learned", "absmax"}
        Real value of the top level: an LSQ parameter, or the largest magnitude of the weights
        (codeq_offset always takes the 99th percentile, as published; ec2t always learns).
    per_channel : bool
        One range per output channel; with BatchNorm it costs no flash, its multipliers are per
        channel anyway.
    structure : {"none", "channel", "1x16"} or "N:M" such as "2:4" and "1:8"
        Which weights become 0 together (codeq, magnitude): each for itself; whole output channels;
        16 consecutive inputs, the lanes of a Helium register.  With N:M (lsq too) N of every M
        consecutive inputs stay, whatever the budget; layers with one input channel, i.e. depthwise
        ones, have no groups of inputs.
    lambda_dz : float
        Weight of this layer's density in `regularizer`; of theta² for codeq_offset.
    lambda_bit : float
        Weight of this layer's width in `regularizer`; of theta_bits² for codeq_offset.
    snap : bool
        Train with the levels of the table that is exported; otherwise with the real ones until the
        last phase (codeq_offset).
    paper_init : bool
        Start almost without a dead zone, as published, instead of on the ordinary grid
        (codeq_offset).
    noise : {"uniform", "gaussian"}
        What stands for rounding while training: its own distribution, or as published (diffq).
    sparsity : float, 0..0.99
        Share of zeros at the end, unless a budget decides; 0 leaves the layer dense (magnitude).
    ramp_steps : int
        Training steps until `sparsity` is reached; `freeze` shortens it (magnitude).
    strength : float
        How much a level's code length weighs against its distance, 0 for not at all and 1 for as
        much as leaves only the largest weights; where there is a budget, only at the start
        (ecq, ec2t; the papers' Λ: 0.05 for 4 bits, 0.125 to 0.175 for three levels).
    relevance : {"none", "fisher", "taylor", "lrp"}
        What keeps small weights from being pruned and lets larger ones be: nothing; the mean of
        gradient², or of abs(weight · gradient); layer-wise relevance propagation, which needs the
        extra `lrp` (ecq, ec2t).
    symmetric : bool
        Equal centroids, which are stored in fewer bits (ec2t).
    scaled_gradient : bool
        Multiply a weight's gradient by the magnitude of its level, as published (ecq, ec2t).
    """

    quantizer: Literal["codeq", "codeq_offset", "diffq", "ec2t", "ecq", "lsq", "magnitude"] = (
        "codeq"
    )
    bits: Bits = 8
    min_bits: Bits = 2
    learn_bits: bool = True
    learn_dead_zone: bool = True
    range: Literal["learned", "absmax"] = "learned"
    per_channel: bool = True
    structure: Annotated[str, msgspec.Meta(pattern=STRUCTURES)] = "none"
    lambda_dz: NonNegative = 0.0
    lambda_bit: NonNegative = 0.0
    snap: bool = True
    paper_init: bool = False
    noise: Literal["uniform", "gaussian"] = "uniform"
    sparsity: Annotated[float, msgspec.Meta(ge=0.0, le=0.99)] = 0.5
    ramp_steps: Annotated[int, msgspec.Meta(ge=1)] = 1000
    strength: NonNegative = 0.1
    relevance: Literal["none", "fisher", "taylor", "lrp"] = "none"
    symmetric: bool = True
    scaled_gradient: bool = False

    def __post_init__(self) -> None:
        _check_type("bits", self.bits, int)
        _check_type("min_bits", self.min_bits, int)
        _check_type("structure", self.structure, str)
        if self.min_bits > self.bits:
            raise InputError(f"min_bits {self.min_bits} is above bits {self.bits}")
        if self.structure == "none":
            return
        able = ["codeq", "magnitude"]
        if ":" in self.structure:
            kept, of = (int(n) for n in self.structure.split(":"))
            if kept >= of:
                raise InputError(f"structure {self.structure} removes nothing: N must be below M")
            able.append("lsq")
        if self.quantizer not in able:
            raise InputError(
                f"structure {self.structure} needs one of the quantizers {', '.join(able)}, "
                f"not {self.quantizer}"
            )


class TableFormat(NamedTuple):
    """How finely a channel's factor and bias are stored. [N4.4]

    Parameters
    ----------
    multiplier_bits : int
        Top bits that multipliers keep: with 13 a factor takes two bytes, with 5 one.
    bias_bits : int
        Biases are multiples of the power of two with which they all have so few bits.
    """

    multiplier_bits: int
    bias_bits: int


TABLE_FORMATS = {
    "wide": TableFormat(multiplier_bits=31, bias_bits=32),
    "narrow": TableFormat(multiplier_bits=13, bias_bits=32),
    "compact": TableFormat(multiplier_bits=5, bias_bits=8),
}


class ActivationConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """How activations are quantized: always stored as int8, one grid a tensor.

    Parameters
    ----------
    learn : bool
        Learn scale and zero point (LSQ+) after calibration; the input's grid stays as calibrated.
    bits : int, 2..8
        Values take one of 2^bits integers.  Inputs, outputs and what has a grid of its own
        (softmax, sigmoid, tanh) keep 8 bits.
    layers : mapping of str to int
        Overrides of `bits` by the pattern of a layer's name, outputs included; later ones win.
        Tensors that share a grid, as those that are joined, get the most bits given to any of them.
    """

    learn: bool = True
    bits: Bits = 8
    layers: dict[str, Bits] = {}

    def bits_of(self, name: str) -> int | None:
        """Override for the layer called `name`."""
        found = [
            bits for pattern, bits in self.layers.items() if fnmatch.fnmatchcase(name, pattern)
        ]
        return found[-1] if found else None


class InputConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The int8 grid that a sensor or a front end delivers: ``real = scale · (q - zero_point)``.

    Parameters
    ----------
    scale : float
        Rounded to float32.
    zero_point : int, -128..127
    """

    scale: Annotated[float, msgspec.Meta(gt=0.0)]
    zero_point: Annotated[int, msgspec.Meta(ge=-128, le=127)] = 0


Limit = int | str
"""A number, or one with a unit."""


class BudgetConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Limits that the trained model keeps; None where there is none.

    Sizes are bytes, or have a unit: K, KiB and M, MiB count by 1024, kB and MB by 1000.  After
    construction all limits are numbers.

    Parameters
    ----------
    weights : int or str, optional
        Of weights and tables in flash.
    flash : int or str, optional
        Of the whole linked image without vector table and start-up.
    ram : int or str, optional
        Of the arena with scratch, state, input and output.  `prepare` refuses activations that are
        too large for any training; how much scratch there is depends on how weights are packed, so
        that `freeze` looks again.  Where RAM is short the compiler takes packings and kernels that
        need less of it: the other amounts are counted with these.
    instructions : int or str, optional
        Of one inference on the target, as the compiler predicts them; K and M count by 1000.
    target : str
        Board for which flash, RAM and instructions are counted.
    packing : {"auto", "small"}
        How weights are packed where bytes are counted, as `codeq compile --packing` has it: with
        ``small`` prefix codes count too, so that the same bytes hold more weights, which are read
        more slowly.
    rate : float
        How fast the pressure on a budget that is exceeded grows, per step and relative to itself.
    """

    weights: Limit | None = None
    flash: Limit | None = None
    ram: Limit | None = None
    instructions: Limit | None = None
    target: str = "mps2_an386"
    packing: Literal["auto", "small"] = "auto"
    rate: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.02

    def __post_init__(self) -> None:
        for name in BUDGETS:
            given = getattr(self, name)
            _check_type(f"budgets.{name}", given, Limit | None)
            if isinstance(given, str):
                parse = parse_count if name == "instructions" else parse_size
                try:
                    given = parse(given)
                except InputError as error:
                    raise InputError(f"budgets.{name}: {error}") from error
                msgspec.structs.force_setattr(self, name, given)
            if given is not None and given < 1:
                raise InputError(f"budgets.{name}: a budget of {given} leaves nothing")

    def only(self, limits: Mapping[str, int]) -> "BudgetConfig":
        """The same with these of `BUDGETS` and no other limits."""
        return msgspec.structs.replace(self, **{name: limits.get(name) for name in BUDGETS})

    def limit(self, name: str) -> int | None:
        """The number behind one of `BUDGETS`."""
        value: int | None = getattr(self, name)
        return value

    @property
    def is_empty(self) -> bool:
        """Nothing is limited."""
        return all(self.limit(name) is None for name in BUDGETS)


BUDGETS = ("weights", "flash", "ram", "instructions")
"""What can be limited: fields of `BudgetConfig`."""


class OscillationConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What is done in the last phase about weights that flip between two levels.

    Parameters
    ----------
    threshold : float, optional
        Weights that turn back more often than this, as a share of the steps, are held at the level
        where they have been for longer (0.02 is usual); None lets all weights flip.
    momentum : float
        Of the moving average over the steps, in which they are counted.
    damping : float
        Weight in `regularizer` of the mean squared distance of weights from their levels.
    """

    threshold: Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)] | None = None
    momentum: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.01
    damping: NonNegative = 0.0


class QuantConfig(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Everything that `prepare` needs to know.

    Parameters
    ----------
    weights : LayerConfig
        Defaults of all layers.
    layers : mapping of str to mapping
        Overrides of `LayerConfig` fields by layer-name pattern (``"features.*.dw"``); where several
        patterns match a layer, later ones win field by field.
    activations : ActivationConfig
    tables : {"wide", "narrow", "compact"}
        Factors and biases of the channels: as exact as int32 can be; factors in two bytes, which
        no output shows; factors in one byte and biases in one, which training in the last phase
        takes into account.  A small network's tables outweigh its weights.
    inputs : mapping of str to InputConfig
        Grids of inputs, by name, whose integers the device already has; the others' are chosen for
        the example input.
    oscillation : OscillationConfig
    budgets : BudgetConfig
        Limits that `regularizer` steers towards and `freeze` enforces.
    """

    weights: LayerConfig = LayerConfig()
    layers: dict[str, dict[str, Any]] = {}
    activations: ActivationConfig = ActivationConfig()
    tables: Literal["wide", "narrow", "compact"] = "narrow"
    inputs: dict[str, InputConfig] = {}
    oscillation: OscillationConfig = OscillationConfig()
    budgets: BudgetConfig = BudgetConfig()

    def __post_init__(self) -> None:
        for pattern in self.layers:
            self._override(self.weights, pattern)

    @property
    def table_format(self) -> TableFormat:
        """What `tables` stands for."""
        return TABLE_FORMATS[self.tables]

    def layer(self, name: str) -> LayerConfig:
        """Settings of the layer called `name`."""
        merged = self.weights
        for pattern in self.layers:
            if fnmatch.fnmatchcase(name, pattern):
                merged = self._override(merged, pattern)
        return merged

    def check_patterns(self, names: Iterable[str]) -> None:
        """Refuse patterns that match none of `names`.

        Raises
        ------
        InputError
            Naming the patterns and the closest layer names.
        """
        _check_patterns("layers", self.layers, list(names), "layer with weights")

    def check_activations(self, names: Iterable[str]) -> None:
        """Refuse patterns of `activations.layers` that match none of `names`.

        Raises
        ------
        InputError
            Naming the pattern and the closest layer name.
        """
        patterns = self.activations.layers
        _check_patterns("activations.layers", patterns, list(names), "layer with a grid to choose")

    def check_inputs(self, names: Iterable[str]) -> None:
        """Refuse grids of inputs that are none of `names`.

        Raises
        ------
        InputError
            Naming the closest input.
        """
        known = list(names)
        for name in self.inputs:
            if name not in known:
                raise InputError(
                    f'inputs: the model has no input "{name}"{_suggestion(name, known)}; '
                    f"its inputs are {', '.join(known)}"
                )

    def _override(self, base: LayerConfig, pattern: str) -> LayerConfig:
        fields = self.layers[pattern]
        path = f"layers.{pattern}"
        _check_type(path, fields, dict[str, Any])
        _refuse_unknown(fields, LayerConfig, path)
        return _convert(msgspec.to_builtins(base) | fields, LayerConfig, path)


def load_config(path: Path | str) -> QuantConfig:
    """Read a `QuantConfig` from a YAML file.

    Raises
    ------
    InputError
        The file is unreadable, not YAML, or holds an unknown key or a value out of range.
    """
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not YAML: {error}") from error
    return parse_config(data if data is not None else {}, source=str(path))


def parse_config(data: object, *, source: str = "config") -> QuantConfig:
    """A `QuantConfig` from plain data (dicts, lists, numbers), as YAML or JSON give it.

    Raises
    ------
    InputError
        An unknown key (with the closest known one) or a value out of range.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{source}: expected keys and values, not {type(data).__name__}")
    _refuse_unknown(data, QuantConfig, source)
    config = _convert(dict(data), QuantConfig, source)
    _check_board(config.budgets, source)
    return config


def _check_board(budgets: BudgetConfig, source: str) -> None:
    """Refuse a target where nothing can be counted: else the first step of training would."""
    try:
        board = targets.load(budgets.target)
    except InputError as error:
        raise InputError(f"{source}: budgets.target: {error}") from error
    if board.is_host and budgets.flash is not None:
        raise InputError(
            f'{source}: a flash budget needs a board, and "{board.name}" is none: '
            "set budgets.target"
        )


_S = TypeVar("_S", bound=msgspec.Struct)


def _convert(data: object, kind: type[_S], source: str) -> _S:
    try:
        return msgspec.convert(data, kind)
    except (msgspec.ValidationError, InputError) as error:
        raise InputError(f"{source}: {error}") from error


def _refuse_unknown(
    data: Mapping[Any, Any], kind: type[msgspec.Struct], source: str, *path: str
) -> None:
    """Unknown keys at every level, before msgspec sees them, so that the error can suggest one."""
    fields = {field.name: field.type for field in msgspec.structs.fields(kind)}
    for key, value in data.items():
        if key not in fields:
            known = list(fields)
            raise InputError(
                f'{_place(source, path)}: unknown key "{key}"{_suggestion(str(key), known)}; '
                f"known keys are {', '.join(known)}"
            )
        _look_inside(value, fields[key], source, *path, key)


def _look_inside(value: object, kind: Any, source: str, *path: str) -> None:
    """Unknown keys of a struct; of a mapping the values, as msgspec does not tell whose it is."""
    if not isinstance(value, Mapping):
        return
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        _refuse_unknown(value, kind, source, *path)
    elif get_origin(kind) is dict:
        for name, each in value.items():
            _look_inside(each, get_args(kind)[1], source, *path, str(name))
            _check_type(_place(source, (*path, str(name))), each, get_args(kind)[1])


def _place(source: str, path: Sequence[str]) -> str:
    return f"{source}: {'.'.join(path)}" if path else source


def _check_patterns(path: str, patterns: Iterable[str], known: list[str], what: str) -> None:
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in known):
            raise InputError(
                f'{path}: the pattern "{pattern}" matches no {what}'
                f"{_suggestion(pattern, known)}; the layers are {', '.join(known)}"
            )


def _suggestion(word: str, known: list[str]) -> str:
    plain = re.sub(r"[*?\[\]]", "", word)
    close = difflib.get_close_matches(plain, known, n=1, cutoff=0.5)
    return f', did you mean "{close[0]}"?' if close else ""
