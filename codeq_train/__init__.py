# SPDX-License-Identifier: Apache-2.0
"""Quantization-aware training with learned sparsity and widths, and export to the compiler."""

from codeq_train.config import (
    ActivationConfig,
    BudgetConfig,
    InputConfig,
    LayerConfig,
    QuantConfig,
    load_config,
    parse_config,
)
from codeq_train.cost import LayerCost, layer_costs, mean_bits, mean_sparsity, projected_bytes
from codeq_train.evaluate import (
    Distance,
    accuracy,
    evaluate,
    integer_accuracy,
    integer_distance,
    integer_outputs,
    predict,
)
from codeq_train.export import export, to_graph_inputs
from codeq_train.landing import land
from codeq_train.limits import check_budgets
from codeq_train.loop import Callback, Epoch, Step, fit, launch, seed_everything
from codeq_train.lrp import update_relevance
from codeq_train.model import QuantizedModel
from codeq_train.optim import parameter_groups
from codeq_train.posttraining import AdaRound, LayerResult, quantize
from codeq_train.prepare import (
    calibrate,
    freeze,
    prepare,
    reestimate_batchnorm,
    set_quantization,
)
from codeq_train.regularizer import regularizer

__all__ = [
    "ActivationConfig",
    "AdaRound",
    "BudgetConfig",
    "Callback",
    "Distance",
    "Epoch",
    "InputConfig",
    "LayerConfig",
    "LayerCost",
    "LayerResult",
    "QuantConfig",
    "QuantizedModel",
    "Step",
    "accuracy",
    "calibrate",
    "check_budgets",
    "evaluate",
    "export",
    "fit",
    "freeze",
    "integer_accuracy",
    "integer_distance",
    "integer_outputs",
    "land",
    "launch",
    "layer_costs",
    "load_config",
    "mean_bits",
    "mean_sparsity",
    "parameter_groups",
    "parse_config",
    "predict",
    "prepare",
    "projected_bytes",
    "quantize",
    "reestimate_batchnorm",
    "regularizer",
    "seed_everything",
    "set_quantization",
    "to_graph_inputs",
    "update_relevance",
]
