# SPDX-License-Identifier: Apache-2.0
"""Grids where activations need them, quantizers where weights are, and the phases of training."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from codeq_compile.errors import InputError, ModelError, UnsupportedOp
from codeq_compile.ir import Grid
from codeq_train import (
    BudgetConfig,
    InputConfig,
    LayerConfig,
    QuantConfig,
    calibrate,
    export,
    freeze,
    prepare,
    reestimate_batchnorm,
)
from codeq_train.layers import Requantize, Scale
from tests.train.nets import ConvNet, Residual, convnet, images, prepared


def grids(model: nn.Module, *inputs: torch.Tensor) -> dict[str, object]:
    ours = prepared(model, *inputs)
    return {layer.origin.name: layer.grid for layer in ours.layers}


def test_the_users_model_is_not_touched() -> None:
    """The float model is the baseline to compare with."""
    model = ConvNet().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    ours = prepare(model, images(4, 2, 9, 9))
    with torch.no_grad():
        next(ours.weighted()).weight.add_(1.0)
    ours(images(4, 2, 9, 9))

    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_preparing_leaves_running_statistics_as_they_are() -> None:
    """They belong to training: calibration must not mix its few samples in."""
    stem = next(convnet().weighted())

    assert (0.0, 1.0) == (float(stem.norm.mean.abs().max()), float(stem.norm.variance.min()))
    assert stem.norm.is_fresh
    assert 0.1 == stem.norm.momentum


def test_relu_and_batchnorm_join_the_layer_before_them() -> None:
    """On the device they cost nothing but a clamp and a multiplier."""
    ours = convnet()
    kinds = [type(layer).__name__ for layer in ours.layers]

    assert ["Input", "Conv", "Conv", "Conv", "Mean", "Dropout", "Linear"] == kinds
    assert [(0.0, float("inf")), (0.0, 6.0)] == [n.limits for n in list(ours.weighted())[:2]]


def test_grids_after_relu_have_zero_point_minus_128() -> None:
    """All 256 steps for values that are never negative, also behind mean and pooling."""
    ours = convnet()
    zeros = {n.origin.name: n.grid.grid().zero_point for n in ours.layers if n.grid is not None}

    assert {"stem", "dw", "pw", "mean"} == {name for name, zero in zeros.items() if zero == -128}


def test_concat_joins_tensors_on_one_grid() -> None:
    """The integers are copied as they are."""

    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 3, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([F.relu(self.a(x)), F.max_pool2d(self.b(x), 1)], 1)

    found = grids(Branches(), images(4, 2, 5, 5))

    assert found["a"] is found["b"] is found["max_pool2d"] is found["cat"] is not found["x"]


def test_a_grid_that_must_not_change_is_requantized_before_concat() -> None:
    """A sigmoid's or the input's grid cannot be stretched for its neighbour."""
    ours = prepared(lambda x: torch.cat([torch.sigmoid(x), x], 1), images(4, 6))

    assert 2 == sum(isinstance(layer, Requantize) for layer in ours.layers)


def test_layers_that_share_a_weight_share_its_quantizer() -> None:
    """Two ranges for one tensor would export two different layers."""

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(torch.relu(self.layer(x)))

    first, second = prepared(Twice(), images(4, 4)).weighted()

    assert first.quantizer is second.quantizer
    assert first.weight is second.weight
    assert ("layer", "layer_1") == (first.origin.name, second.origin.name)


def test_batchnorm_before_a_convolution_becomes_a_depthwise_layer() -> None:
    """Pre-activation networks have BatchNorm with nothing to fold into."""
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))
    norm, conv = prepared(model, images(4, 3, 5, 5)).weighted()

    assert isinstance(norm, Scale)
    assert (3, False) == (norm.groups, norm.weight.requires_grad)
    assert [8, 127, 127, 127] == [norm.levels().bits, *norm.levels().codes.flatten().tolist()]
    assert conv.norm is None


def test_one_sample_is_too_few_for_a_fresh_batchnorm() -> None:
    """torch's own error names neither the layer nor the way out."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))

    with pytest.raises(InputError, match=r'layer "0".*give a batch'):
        prepare(model, images(1, 4))


@pytest.mark.parametrize("quantizer", ["codeq", "codeq_offset"])
def test_weights_that_are_not_finite_are_told_by_their_layers(quantizer: str) -> None:
    """Who reads "check data and weights" looks through the data first, for hours."""
    model = ConvNet()
    with torch.no_grad():
        model.stem.weight[0, 0, 0, 0] = torch.nan
        model.dw_norm.running_var[1] = torch.inf
    config = QuantConfig(weights=LayerConfig(quantizer=quantizer))

    with pytest.raises(InputError, match='weights or statistics of "stem", "dw" are not finite'):
        prepare(model, images(4, 2, 9, 9), config)


def test_an_example_that_is_not_finite_is_told_by_its_input() -> None:
    """Of several inputs one sensor may be broken; the weights are not to blame."""
    broken = images(4, 3)
    broken[2, 1] = torch.nan

    with pytest.raises(InputError, match='for input "inputs_1" holds values that are not finite'):
        prepared(lambda left, right: left + right, images(4, 3), broken)


def test_overrides_reach_their_layers() -> None:
    """The first and the last layer usually keep more bits."""
    config = QuantConfig(
        weights=LayerConfig(bits=3),
        layers={"stem": {"bits": 8, "quantizer": "lsq"}, "*w": {"bits": 5}},
    )
    ours = prepare(ConvNet(), images(4, 2, 9, 9), config)

    assert [8, 5, 5, 3] == [layer.quantizer.bits for layer in ours.weighted()]

    with pytest.raises(InputError, match="matches no layer"):
        prepare(ConvNet(), images(4, 2, 9, 9), QuantConfig(layers={"block*": {"bits": 8}}))
    with pytest.raises(InputError, match="bits"):
        prepare(ConvNet(), images(4, 2, 9, 9), QuantConfig(weights=LayerConfig(bits=11)))


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        (BudgetConfig(target="foo"), 'no target "foo": there are host'),
        (BudgetConfig(target="host", flash="20K"), '"host" is none: set budgets.target'),
        (BudgetConfig(target="host", instructions="1M"), "none on host .* for cq_"),
    ],
)
def test_a_board_that_cannot_count_is_refused_before_training(
    budgets: BudgetConfig, message: str
) -> None:
    """The first step of training, after all the data were read, is a late place to learn it."""
    with pytest.raises(InputError, match=message):
        prepare(ConvNet(), images(4, 2, 9, 9), QuantConfig(budgets=budgets))


def test_an_inputs_grid_is_the_one_that_the_sensor_delivers() -> None:
    """Counts of a sensor must reach the model as they are, not converted to a grid nearby."""
    config = QuantConfig(inputs={"x": InputConfig(scale=0.1, zero_point=83)})
    graph = export(prepare(ConvNet(), images(4, 2, 9, 9), config).eval())

    assert Grid(scale=float(torch.tensor(0.1)), zero_point=83) == graph.tensors["x"].grid

    with pytest.raises(InputError, match=r'no input "y".*its inputs are x'):
        prepare(ConvNet(), images(4, 2, 9, 9), QuantConfig(inputs={"y": InputConfig(scale=0.1)}))


def test_what_cannot_be_exported_is_refused_before_training() -> None:
    """The bad news must not come after hours of training."""

    def scrambled(x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x).permute(0, 2, 3, 1)[:, :, :, :].flatten(1).reshape(-1, 3, 4, 5)

    with pytest.raises(UnsupportedOp, match=r"channels-last|slice"):
        prepared(scrambled, images(2, 3, 4, 5))


def test_calibration_changes_grids_and_nothing_else() -> None:
    """Running it again on better data must not disturb a trained model."""
    ours = convnet()
    before = {name: value.clone() for name, value in ours.state_dict().items()}

    calibrate(ours, [3.0 * images(16, 2, 9, 9, seed=1), images(16, 2, 9, 9, seed=2)])

    changed = {n for n, value in ours.state_dict().items() if not torch.equal(before[n], value)}
    assert changed
    assert all(".grid." in name for name in changed)
    assert not ours.training


def test_calibration_may_reach_every_value_or_nearly_all() -> None:
    """An outlier that matters must not be cut off; one that does not must not take the steps."""
    ours = prepared(lambda x: x * 1.0, images(8, 50))
    x = torch.linspace(-1.0, 1.0, 40_000).reshape(800, 50)
    x[0, 0], x[0, 1] = -20.0, 40.0
    reached = {}
    for ranges in ("mse", "absmax", "percentile"):
        calibrate(ours, [x], ranges=ranges)
        reached[ranges] = 255 * ours.inputs[0].grid.grid().scale

    assert abs(reached["absmax"] - 60.0) < 1e-3
    assert abs(reached["percentile"] - 2.0) < 1e-2
    assert reached["percentile"] < reached["mse"] <= reached["absmax"] + 1e-3


def test_one_sample_is_enough_to_prepare() -> None:
    """BatchNorm has no batch statistics of one sample; its running ones serve."""
    ours = prepared(Residual(), images(1, 3, 8, 8))

    assert torch.isfinite(ours(images(3, 3, 8, 8))).all()


def test_freezing_stops_statistics_and_zeros() -> None:
    """The last phase trains the very network that is exported."""
    config = QuantConfig(weights=LayerConfig(bits=2))
    ours = prepare(ConvNet(), images(16, 2, 9, 9), config)
    freeze(ours)
    stem = next(ours.weighted())
    zeros, mean = stem.levels().codes == 0, stem.norm.mean.clone()
    optimizer = torch.optim.SGD(ours.parameters(), 0.5)
    for seed in range(3):
        ours(images(16, 2, 9, 9, seed=seed)).square().sum().backward()
        optimizer.step()

    assert torch.equal(zeros, stem.levels().codes == 0)
    assert torch.equal(mean, stem.norm.mean)


def test_reestimated_statistics_are_the_mean_over_the_batches() -> None:
    """Stale statistics cost accuracy exactly when everything else is right."""
    ours = convnet()
    stem = next(ours.weighted())
    batches = [images(16, 2, 9, 9, seed=seed) for seed in range(4)]
    with torch.no_grad():
        inputs = [ours.inputs[0](batch) for batch in batches]
        outputs = [stem.linear(x, stem.quantizer(stem.weight), None) for x in inputs]

    reestimate_batchnorm(ours, batches)

    expected = torch.stack([y.mean((0, 2, 3)) for y in outputs]).mean(0)
    assert torch.allclose(expected, stem.norm.mean, atol=1e-5)
    assert 0.1 == stem.norm.momentum
    assert not stem.use_running_statistics


def test_statistics_are_reestimated_with_the_weights_that_are_exported() -> None:
    """DiffQ's noise and dropout, which training adds, would make their variance too large."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 5), nn.BatchNorm1d(5))
    x = images(64, 6)
    ours = prepare(net, x, QuantConfig(weights=LayerConfig(quantizer="diffq", bits=2)))
    (layer,) = ours.weighted()
    y = layer.linear(ours.inputs[0](x), layer.levels().dequantize(), layer.bias).detach()

    reestimate_batchnorm(ours, [x])

    assert torch.allclose(y.mean(0), layer.norm.mean, atol=1e-6)
    assert torch.allclose(y.var(0), layer.norm.variance, atol=1e-6)
    assert all(module.training for module in ours.modules())


def test_a_prepared_model_is_not_prepared_again() -> None:
    """torch's own words for it blame a line of codeq, and the control flow of the user's model."""
    ours = convnet()

    with pytest.raises(ModelError, match="the model is already prepared"):
        prepare(ours, images(8, 2, 9, 9))
    with pytest.raises(ModelError, match='its part "0" is already prepared'):
        prepare(nn.Sequential(ours, nn.Softmax(1)), images(8, 2, 9, 9))
