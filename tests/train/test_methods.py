# SPDX-License-Identifier: Apache-2.0
"""The table of methods: every name is a valid configuration, and every quantizer has a name."""

import typing

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from codeq_compile.errors import InputError
from codeq_train import LayerConfig, QuantConfig, parse_config, prepare, projected_bytes
from codeq_train.methods import METHODS, configured, method, needs_widths, with_widths
from codeq_train.quantizers import WeightQuantizer
from tests.train.nets import images


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 12), nn.ReLU(), nn.Linear(12, 3))


def test_every_quantizer_has_a_method() -> None:
    """A quantizer that no name leads to is compared with nothing."""
    kinds = typing.get_args(typing.get_type_hints(LayerConfig)["quantizer"])

    assert {*kinds} == {each.fields["quantizer"] for each in METHODS.values()}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_prepares_and_says_what_carries_its_budget(
    name: str, network: nn.Module
) -> None:
    """A misspelt field, or a budget that nothing carries, must not show after an hour."""
    if method(name).fields.get("relevance") == "lrp":
        pytest.importorskip("captum", reason="relevances by propagation are the extra `lrp`")
    model = prepare(network, images(16, 12), configured(QuantConfig(), name))
    quantizers = [layer.quantizer for layer in model.weighted()]
    steers = {type(each).steer is not WeightQuantizer.steer for each in quantizers if each}

    assert {method(name).carrier == "gradient"} == {q.learns_size for q in quantizers if q}
    assert {method(name).carrier == "strength"} == steers


@pytest.mark.parametrize("name", METHODS)
def test_what_a_search_tries_is_allowed(name: str) -> None:
    """The ends of every range are valid settings."""
    for field, ends in method(name).search.items():
        for value in ends:
            assert value == getattr(
                configured(QuantConfig(), name, **{field: value}).weights, field
            )


def test_a_method_changes_the_weights_and_nothing_else() -> None:
    """A recipe's grids, budgets and first layers are its own."""
    config = parse_config(
        {
            "weights": {"per_channel": False, "quantizer": "codeq"},
            "layers": {"0": {"bits": 8, "min_bits": 8}},
            "inputs": {"input": {"scale": 0.5}},
            "budgets": {"weights": "10K"},
        }
    )
    other = configured(config, "ecq")

    assert ("ecq", 4, False) == (
        other.weights.quantizer,
        other.weights.bits,
        other.weights.per_channel,
    )
    assert (config.layers, config.inputs, config.budgets) == (
        other.layers,
        other.inputs,
        other.budgets,
    )


def test_an_unknown_method_is_refused() -> None:
    """With the names that there are."""
    with pytest.raises(InputError, match=r'no method "ecc"; there are codeq, .*magnitude'):
        method("ecc")


def test_widths_are_chosen_for_the_budget(network: nn.Module) -> None:
    """LSQ cannot learn widths: it gets them before training, and other overrides stay."""
    config = configured(
        parse_config({"budgets": {"weights": 150}, "layers": {"2": {"range": "absmax"}}}), "lsq"
    )
    batches = [(images(64, 12), torch.arange(64) % 3)]
    chosen = with_widths(config, network, batches, F.cross_entropy)
    model = prepare(network, batches[0][0], chosen)

    assert chosen.layer("2").range == "absmax"
    assert not chosen.layer("0").learn_bits
    # new grids of activations move a bias from one width to another
    assert projected_bytes(model) <= 1.05 * 150


def test_widths_are_chosen_in_the_packing_of_the_budget() -> None:
    """Prefix codes hold more bits in as many bytes."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 64))
    with torch.no_grad():
        for layer in (network[0], network[2]):
            layer.weight.normal_(std=0.1)  # even weights leave a prefix code nothing to save
    batches = [(images(64, 64), torch.arange(64))]
    bits = {}
    for packing in ("auto", "small"):
        budgets = {"weights": 5600, "packing": packing}
        config = configured(parse_config({"budgets": budgets}), "lsq")
        chosen = with_widths(config, network, batches, F.cross_entropy)
        bits[packing] = [chosen.layer(name).bits for name in ("0", "2")]

    assert sum(bits["auto"]) < sum(bits["small"])


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        ({"weights": {"quantizer": "lsq"}}, True),
        ({"weights": {"quantizer": "lsq"}, "layers": {"0": {"range": "absmax"}}}, True),
        ({"weights": {"quantizer": "lsq"}, "layers": {"0": {"quantizer": "ecq"}}}, True),
        ({"weights": {"quantizer": "codeq"}}, False),
    ],
)
def test_settings_whose_size_nothing_learns_need_widths(
    given: dict[str, typing.Any], needed: bool
) -> None:
    """However they were given: by the method's name, in a file or in Python."""
    assert not needs_widths(parse_config(given))
    assert needed == needs_widths(parse_config(given | {"budgets": {"weights": "5K"}}))


def test_without_a_budget_no_width_is_chosen(network: nn.Module) -> None:
    """Then the configuration's widths are what the user wants."""
    config = configured(QuantConfig(), "lsq")

    assert config is with_widths(config, network, [], F.cross_entropy)
