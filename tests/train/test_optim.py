# SPDX-License-Identifier: Apache-2.0
"""Every parameter is in exactly one group, and only weights decay."""

import torch
from torch import nn

from codeq_train import QuantConfig, parameter_groups, prepare
from tests.train.nets import ConvNet, images


def test_every_trainable_parameter_is_in_exactly_one_group() -> None:
    """A forgotten one stays at its start; one that is in two groups is stepped twice."""
    ours = prepare(ConvNet(), images(8, 2, 9, 9), QuantConfig())

    grouped = [id(p) for group in parameter_groups(ours) for p in group["params"]]

    assert sorted(grouped) == sorted(id(p) for p in ours.parameters() if p.requires_grad)


def test_only_weights_decay() -> None:
    """Decay of a range or a gap would drift the grid."""
    ours = prepare(ConvNet(), images(8, 2, 9, 9), QuantConfig())
    groups = {g["name"]: g for g in parameter_groups(ours, weight_decay=0.1, bits_lr=0.5)}

    assert {"weights"} == {name for name, group in groups.items() if group["weight_decay"]}
    assert {id(n.weight) for n in ours.weighted()} == {id(p) for p in groups["weights"]["params"]}
    assert 0.5 == groups["bits"]["lr"]
    assert 4 == len(groups["bits"]["params"]) == len(groups["dead_zone"]["params"])


def test_what_cannot_be_learned_is_left_out() -> None:
    """Optimizers complain about groups without gradients, or waste memory on them."""
    config = QuantConfig(
        weights={"quantizer": "lsq", "range": "absmax"},
        activations={"learn": False},
    )
    ours = prepare(nn.Linear(4, 2), images(8, 4), config)

    assert ["weights", "other"] == [g["name"] for g in parameter_groups(ours)]


def test_any_torch_optimizer_takes_them() -> None:
    """The loop is the user's own."""
    ours = prepare(nn.Linear(4, 2), images(8, 4), QuantConfig())
    for kind in (torch.optim.SGD, torch.optim.AdamW):
        optimizer = kind(parameter_groups(ours), lr=0.1)
        ours(images(8, 4)).sum().backward()
        optimizer.step()
