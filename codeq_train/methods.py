# SPDX-License-Identifier: Apache-2.0
"""The methods that can be compared: a name for a set of settings, and what carries the budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import msgspec
from torch import nn

from codeq_compile.errors import InputError
from codeq_train.allocate import allocate
from codeq_train.config import BudgetConfig, QuantConfig, parse_config
from codeq_train.curvature import Batch, Loss
from codeq_train.prepare import prepare

Carrier = Literal["gradient", "strength", "allocation"]
Range = tuple[int, int]
_NOTHING: Mapping[str, Range] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A set of `LayerConfig` fields.

    Parameters
    ----------
    title : str
        One line.
    fields : mapping of str to value
        Of `LayerConfig`.
    carrier : {"gradient", "strength", "allocation"}
        How a budget acts: the size has a gradient (widths and dead zones are learned); the
        quantizer has a strength that is steered; or widths are chosen once, before training.
    search : mapping of str to (int, int)
        Fields worth searching, and between which values.
    """

    title: str
    fields: Mapping[str, Any]
    carrier: Carrier
    search: Mapping[str, Range] = field(default_factory=lambda: _NOTHING)


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "codeq": Method(
            title="CoDeQ with an integer gap: learned dead zone and width",
            fields={"quantizer": "codeq", "bits": 8, "min_bits": 2},
            carrier="gradient",
            search={"min_bits": (2, 4)},
        ),
        "codeq_offset": Method(
            title="CoDeQ as published: a real offset, stored as a table of levels",
            fields={"quantizer": "codeq_offset", "bits": 8, "min_bits": 2, "per_channel": False},
            carrier="gradient",
            search={"min_bits": (2, 4)},
        ),
        "ecq": Method(
            title="ECQ: levels are assigned by distance and code length",
            fields={"quantizer": "ecq", "bits": 4, "min_bits": 2, "relevance": "none"},
            carrier="strength",
            search={"bits": (3, 6)},
        ),
        "ecqx": Method(
            title="ECQ^x with the free relevance, the mean squared gradient",
            fields={"quantizer": "ecq", "bits": 4, "min_bits": 2, "relevance": "fisher"},
            carrier="strength",
            search={"bits": (3, 6)},
        ),
        "ecqx_lrp": Method(
            title="ECQ^x as published, with layer-wise relevance propagation",
            fields={"quantizer": "ecq", "bits": 4, "min_bits": 2, "relevance": "lrp"},
            carrier="strength",
            search={"bits": (3, 6)},
        ),
        "ec2t": Method(
            title="EC2T: three levels, their centroids learned and equal",
            fields={"quantizer": "ec2t", "bits": 2, "min_bits": 2},
            carrier="strength",
        ),
        "diffq": Method(
            title="DiffQ: widths learned through noise",
            fields={"quantizer": "diffq", "bits": 8, "min_bits": 2},
            carrier="gradient",
            search={"min_bits": (2, 4)},
        ),
        "lsq": Method(
            title="LSQ: learned steps, widths from the loss's curvature",
            fields={"quantizer": "lsq", "bits": 8, "min_bits": 2},
            carrier="allocation",
        ),
        "magnitude": Method(
            title="8 bits, and the smallest weights removed",
            fields={"quantizer": "magnitude", "bits": 8, "min_bits": 2},
            carrier="strength",
            search={"bits": (4, 8)},
        ),
    }
)
"""By the name that ``--method`` takes."""


def method(name: str) -> Method:
    """The method called `name`.

    Raises
    ------
    InputError
        There is none; the message lists them.
    """
    try:
        return METHODS[name]
    except KeyError:
        raise InputError(f'there is no method "{name}"; there are {", ".join(METHODS)}') from None


def configured(config: QuantConfig, name: str, **fields: Any) -> QuantConfig:
    """`config` with the method called `name`; its overrides of single layers stay.

    Parameters
    ----------
    config : QuantConfig
    name : str
    **fields
        Of `LayerConfig`, in place of the method's.
    """
    weights = msgspec.to_builtins(config.weights) | dict(method(name).fields) | fields
    return parse_config(msgspec.to_builtins(config) | {"weights": weights}, source=name)


def needs_widths(config: QuantConfig) -> bool:
    """Whether a budget of weights acts by `with_widths`: nothing else leads layers to it.

    The default of all layers decides.
    """
    allocated = {
        each.fields["quantizer"] for each in METHODS.values() if each.carrier == "allocation"
    }
    return config.budgets.weights is not None and config.weights.quantizer in allocated


def with_widths(
    config: QuantConfig, network: nn.Module, batches: list[Batch], loss: Loss
) -> QuantConfig:
    """`config` with the widths that `allocate` chooses for its budget of weights.

    Without such a budget nothing is chosen.

    Parameters
    ----------
    config : QuantConfig
    network : nn.Module
        Float, trained.
    batches : list of (inputs, targets)
    loss : callable
        Of (outputs, targets), a mean over the batch.
    """
    target = config.budgets.limit("weights")
    if target is None:
        return config
    # the float model may be larger than the budget: that is why widths are chosen
    free = msgspec.structs.replace(config, budgets=BudgetConfig(packing=config.budgets.packing))
    device = next(network.parameters()).device
    on_device = [(x.to(device), y.to(device)) for x, y in batches]
    allocation = allocate(prepare(network, on_device[0][0], free), on_device, loss, target)
    layers = {**config.layers}
    for pattern, width in allocation.layers.items():
        layers[pattern] = {**layers.get(pattern, {}), **width}
    return msgspec.structs.replace(config, layers=layers)
