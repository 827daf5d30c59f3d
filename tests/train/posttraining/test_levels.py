# SPDX-License-Identifier: Apache-2.0
"""Which levels a weight may take, and that chosen ones are what is stored."""

import numpy as np
import pytest
import torch

from codeq_compile.errors import InputError
from codeq_train import LayerConfig, QuantConfig
from codeq_train.posttraining.levels import (
    LevelSet,
    Snapshot,
    Width,
    as_rows,
    install,
    level_set,
    write,
)
from codeq_train.quantizers import Levels
from tests.train.nets import ConvNet, convnet, images, prepared


@pytest.mark.parametrize(("bits", "gap"), [(2, 0), (2, 3), (4, 0), (4, 2), (7, 5)])
def test_nearest_and_neighbours_are_those_of_an_exhaustive_search(
    rng: np.random.Generator, bits: int, gap: int
) -> None:
    """The dead zone of a gap has no levels inside, and the last level has nothing beyond."""
    values = Width(bits=bits, gap=gap).values(torch.zeros(()))
    step = torch.from_numpy(rng.uniform(0.1, 2.0, (2, 3, 1))).float()
    weight = torch.from_numpy(rng.normal(0, 4, (2, 3, 50))).float()
    levels = LevelSet(values=values, step=step)
    distance = (values - (weight / step)[..., None]).abs()
    lower, upper = levels.neighbours(weight)

    assert torch.equal(values[distance.argmin(-1)], levels.nearest(weight))
    assert ((lower <= weight / step) | (lower == values[0])).all()
    assert ((upper >= weight / step) | (upper == values[-1])).all()
    assert (torch.searchsorted(values, upper) - torch.searchsorted(values, lower) <= 1).all()


def test_ties_go_towards_zero() -> None:
    """As everywhere where a weight is rounded: zeros are cheap."""
    levels = LevelSet(values=torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]), step=torch.ones(1, 1, 1))

    assert [[[-1.0, 0.0, 0.0, 1.0]]] == levels.nearest(
        torch.tensor([[[-1.5, -0.5, 0.5, 1.5]]])
    ).tolist()


@pytest.mark.parametrize(
    ("quantizer", "gap"), [("lsq", 0), ("codeq", 0), ("codeq", 1), ("codeq", 4)]
)
def test_every_level_of_a_grid_is_stored_as_it_was_chosen(
    rng: np.random.Generator, quantizer: str, gap: int
) -> None:
    """Bit for bit, whatever the step's last digits are."""
    config = QuantConfig(weights=LayerConfig(quantizer=quantizer, bits=5))
    ours = prepared(ConvNet(), images(8, 2, 9, 9), config=config)
    for layer in ours.weighted():
        rows = as_rows(layer, layer.weight)
        top_value = torch.from_numpy(rng.uniform(0.01, 3.0, (*rows.shape[:2], 1))).float()
        width = Width(bits=4, gap=gap)
        install(ours, layer, width, top_value)
        levels = level_set(layer)
        chosen = torch.from_numpy(rng.choice(width.values(rows).numpy(), rows.shape))
        write(layer, chosen)

        assert torch.equal(width.values(rows), levels.values)
        assert (4, gap) == (layer.levels().bits, layer.levels().gap)
        assert torch.allclose(top_value, levels.step * (width.top + gap))
        assert torch.equal(chosen, as_rows(layer, layer.levels().values()))


def test_a_quantizer_that_moves_chosen_levels_is_refused() -> None:
    """Entropy-constrained ones decide by the whole layer: export would store something else."""
    layer = next(convnet().weighted())
    stored = layer.levels()
    other = Levels(codes=0 * stored.codes, bits=4, scale=stored.scale)
    layer.quantizer.levels = lambda weight: other

    with pytest.raises(InputError, match='layer "stem": CoDeQ does not keep levels'):
        write(layer, as_rows(layer, stored.values()))


def test_tables_of_levels_have_neighbours_too() -> None:
    """Asymmetric ternary, say."""
    layer = next(convnet().weighted())
    stored = layer.levels()
    table = Levels(codes=0 * stored.codes, bits=2, scale=stored.scale, table=(0, 3, -7))
    layer.quantizer.levels = lambda weight: table

    assert [-7.0, 0.0, 3.0] == level_set(layer).values.tolist()


def test_a_snapshot_brings_a_layer_back() -> None:
    """What turns out to be worse is taken back altogether."""
    ours = convnet()
    layer = next(ours.weighted())
    before, expected = Snapshot(ours, layer), layer.levels()
    install(ours, layer, Width(bits=2), torch.ones(1, layer.channels, 1))
    write(layer, torch.ones_like(as_rows(layer, layer.weight)))
    layer.norm.beta = torch.nn.Parameter(layer.norm.beta + 1)
    before.restore()

    assert torch.equal(expected.codes, layer.levels().codes)
    assert before.beta is layer.norm.beta
