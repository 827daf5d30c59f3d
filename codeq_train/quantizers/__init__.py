# SPDX-License-Identifier: Apache-2.0
"""Weight quantizers, by the name that a configuration gives them."""

from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.codeq import CoDeQ
from codeq_train.quantizers.codeq_offset import CoDeQOffset
from codeq_train.quantizers.diffq import DiffQ
from codeq_train.quantizers.ec2t import EC2T
from codeq_train.quantizers.ecq import ECQ
from codeq_train.quantizers.grid import GridQuantizer
from codeq_train.quantizers.lsq import LSQ
from codeq_train.quantizers.magnitude import Magnitude

_BY_NAME: dict[str, type[WeightQuantizer]] = {
    "codeq": CoDeQ,
    "codeq_offset": CoDeQOffset,
    "diffq": DiffQ,
    "ec2t": EC2T,
    "ecq": ECQ,
    "lsq": LSQ,
    "magnitude": Magnitude,
}


def make_quantizer(weight: Tensor, config: LayerConfig) -> WeightQuantizer:
    """The quantizer that `config` names, its range set from `weight`."""
    return _BY_NAME[config.quantizer](weight, config)


__all__ = [
    "EC2T",
    "ECQ",
    "LSQ",
    "CoDeQ",
    "CoDeQOffset",
    "DiffQ",
    "GridQuantizer",
    "Levels",
    "Magnitude",
    "WeightQuantizer",
    "make_quantizer",
]
