# SPDX-License-Identifier: Apache-2.0
"""Weight quantizers, by the name that a configuration gives them."""

from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.codeq import CoDeQ
from codeq_train.quantizers.grid import GridQuantizer
from codeq_train.quantizers.lsq import LSQ

_BY_NAME: dict[str, type[WeightQuantizer]] = {"codeq": CoDeQ, "lsq": LSQ}


def make_quantizer(weight: Tensor, config: LayerConfig) -> WeightQuantizer:
    """The quantizer that `config` names, its range set from `weight`."""
    return _BY_NAME[config.quantizer](weight, config)


__all__ = ["LSQ", "CoDeQ", "GridQuantizer", "Levels", "WeightQuantizer", "make_quantizer"]
