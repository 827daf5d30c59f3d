# SPDX-License-Identifier: Apache-2.0
"""Weight quantizers, by the name that a configuration gives them."""

from torch import Tensor

from codeq_train.config import LayerConfig
from codeq_train.quantizers.base import Levels, WeightQuantizer
from codeq_train.quantizers.codeq import CoDeQ
from codeq_train.quantizers.uniform import Uniform

_BY_NAME = {"codeq": CoDeQ, "uniform": Uniform}


def make_quantizer(weight: Tensor, config: LayerConfig) -> WeightQuantizer:
    """The quantizer that `config` names, its range set from `weight`."""
    return _BY_NAME[config.quantizer](weight, config)


__all__ = ["CoDeQ", "Levels", "Uniform", "WeightQuantizer", "make_quantizer"]
