# SPDX-License-Identifier: Apache-2.0
"""Smoke test of the whole road: train one step, export, compile, and host C equals simulation."""

from pathlib import Path

import torch
from torch.nn import functional as F

import codeq_compile
from codeq_train import (
    BudgetConfig,
    QuantConfig,
    export,
    parameter_groups,
    prepare,
    regularizer,
    to_graph_inputs,
)
from tests.train.nets import ConvNet, images


def test_one_training_step_reaches_the_c_library(tmp_path: Path) -> None:
    """If this fails, nothing else is worth looking at."""
    torch.manual_seed(0)
    x, y = images(32, 2, 9, 9), torch.arange(32) % 3
    model = prepare(ConvNet(), x, QuantConfig(budgets=BudgetConfig(weights=600)))
    optimizer = torch.optim.Adam(parameter_groups(model))
    (F.cross_entropy(model(x), y) + regularizer(model)).backward()
    optimizer.step()
    graph = export(model.eval(), tmp_path / "tiny.cq", name="tiny", labels=["a", "b", "c"])
    codeq_compile.compile(tmp_path / "tiny.cq", tmp_path / "lib", target="host")

    result = codeq_compile.check(tmp_path / "lib", inputs=to_graph_inputs(graph, x))

    assert 0 == result.bytes_differing
    assert result.bytes_compared > 32 * 3
