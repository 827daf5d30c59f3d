# SPDX-License-Identifier: Apache-2.0
"""Dead and constant channels: what goes, what stays, and that no output notices."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeq_compile import passes
from codeq_compile.ir import Graph, Node, Op, Weights
from codeq_compile.ops.add import Add
from codeq_compile.ops.avgpool2d import AvgPool2D
from codeq_compile.ops.concat import Concat
from codeq_compile.ops.conv2d import Conv2D
from codeq_compile.ops.dwconv2d import DWConv2D
from codeq_compile.ops.linear import Linear
from codeq_compile.ops.lut import Lut
from codeq_compile.ops.maxpool2d import MaxPool2D
from codeq_compile.ops.mean import Mean
from codeq_compile.ops.mul import Mul
from codeq_compile.ops.pad import Pad
from codeq_compile.ops.requantize import Requantize
from codeq_compile.ops.reshape import Reshape
from codeq_compile.ops.softmax import Softmax
from codeq_compile.ops.upsample2d import Upsample2D
from codeq_compile.passes.remove_dead_channels import remove_dead_channels
from tests.compile.passes.equality import applied
from tests.graphs import grid, random_weights, s8
from tests.networks import NETWORKS, VARIANTS, benchmark
from tests.strategies import GraphBuilder, chains, graphs, seeds

ALIVE, SILENT, SATURATED, UNHEARD = range(4)
"""What is done to a channel: nothing, zero weights, a bias no input overcomes, deaf readers."""


@st.composite
def dying_graphs(draw: st.DrawFn) -> Graph:
    """Graphs in which channels of weighted layers, and their readers' weights, were killed."""
    graph = draw(st.one_of(graphs(max_nodes=8), chains(max_nodes=7), chains(max_nodes=7)))
    rng = np.random.default_rng(draw(seeds()))
    share = draw(st.sampled_from([0.3, 0.7, 1.0]))
    return graph.with_nodes(tuple(_killed(node, rng, share) for node in graph.nodes))


def _killed(node: Node, rng: np.random.Generator, share: float) -> Node:
    if node.weights is None or (node.weights.levels and 0 not in node.weights.levels):
        return node
    fate = np.where(rng.random(len(node.weights.codes)) < share, rng.integers(1, 4), ALIVE)
    codes = node.weights.codes.copy()
    zero = node.weights.levels.index(0) if node.weights.levels else 0
    codes[fate == SILENT] = zero
    if codes.ndim != 3:  # what dwconv2d has in its last axis are columns
        codes[..., rng.random(codes.shape[-1]) < share * (rng.random() < 0.5)] = zero
    bias = np.zeros(len(codes), np.int32) if node.bias is None else node.bias.copy()
    bias[fate == SATURATED] = rng.choice([-1, 1]) * (1 << 20)
    return replace(node, weights=replace(node.weights, codes=codes), bias=bias)


def weights_of(graph: Graph) -> int:
    return sum(node.weights.codes.size for node in graph.nodes if node.weights is not None)


def macs_of(graph: Graph) -> int:
    lowered = passes.run(graph, "literal")
    return sum(n.op.macs(n.params, lowered.output_type(n)) for n in lowered.nodes)


@pytest.mark.slow
@given(dying_graphs())
def test_no_output_notices_and_nothing_is_left_to_do(graph: Graph) -> None:
    """The pass is exact, ends, and never makes a graph larger."""
    smaller = applied(remove_dead_channels, graph)

    assert smaller is remove_dead_channels(smaller)
    assert weights_of(smaller) <= weights_of(graph)
    assert macs_of(smaller) <= macs_of(graph)
    for name in (*graph.inputs, *graph.outputs):
        assert graph.tensors[name] == smaller.tensors[name]


CHANNELS = 6
DEAD = (1, 4)


class Chain(GraphBuilder):
    """Image → 1x1 convolution whose channels `DEAD` have no weights → … → linear readers."""

    def __init__(
        self,
        rng: np.random.Generator,
        dead: Iterable[int] = DEAD,
        *,
        zero_point: int = 0,
        bias: int = 0,
        clamp: tuple[int, int] = (-128, 127),
    ) -> None:
        super().__init__(rng)
        self.x = self.input(s8(5, 5, 3))
        weights = random_weights(rng, (CHANNELS, 1, 1, 3))
        weights.codes[list(dead)] = 0
        biases = rng.integers(-90, 90, CHANNELS).astype(np.int32)
        biases[list(dead)] = bias
        self.stem = self.add(
            Conv2D(clamp=clamp),
            self.x,
            weights=weights,
            bias=biases,
            output=grid(0.05, zero_point),
            name="stem",
        )

    def through(self, op: Op[Any], *inputs: str, **options: Any) -> str:
        table = np.arange(127, -129, -1).astype(np.int8) if op.has_table else None
        return self.add(op, *inputs, table=table, name="through", **options)

    def read(self, *tensors: str, kernel: int = 1, padding: int = 0) -> Graph:
        """The graph whose outputs are convolutions of `tensors`, or linear layers of vectors."""
        outputs = []
        for tensor in tensors:
            channels = self.tensors[tensor].shape[-1]
            if len(self.tensors[tensor].shape) == 3:
                op: Op[Any] = Conv2D(padding=(padding,) * 4)
                weights = random_weights(self.rng, (2, kernel, kernel, channels))
            else:
                op, weights = Linear(), random_weights(self.rng, (2, channels))
            outputs.append(self.add(op, tensor, weights=weights, name=f"{tensor}.reader"))
        return self.graph(*outputs)


def channels(graph: Graph) -> dict[str, int]:
    """Channels of every inner tensor."""
    inner = graph.tensors.keys() - {*graph.inputs, *graph.outputs}
    return {name: graph.tensors[name].shape[-1] for name in graph.tensors if name in inner}


@pytest.mark.parametrize("bias", [0, 700, -700])
def test_weightless_channels_go_into_the_biases_of_their_readers(
    bias: int, rng: np.random.Generator
) -> None:
    """They are constants, zero or not: 2 of 6 channels, 30 of 78 weights... and their time."""
    before = Chain(rng, bias=bias).read("stem.out")
    after = applied(remove_dead_channels, before)

    assert {"stem.out": CHANNELS - len(DEAD)} == channels(after)
    assert weights_of(before) * 4 == weights_of(after) * 6
    assert macs_of(before) * 4 == macs_of(after) * 6


def test_a_channel_that_a_clamp_holds_is_a_constant(rng: np.random.Generator) -> None:
    """It has weights, but no input ever gets it above the ReLU's limit."""
    net = Chain(rng, dead=(), zero_point=-128, clamp=(-128, 127))
    stem = net.graph("stem.out").nodes[0]
    assert stem.bias is not None
    stem.bias[2] = -(1 << 20)

    assert {"stem.out": CHANNELS - 1} == channels(applied(remove_dead_channels, net.read(net.stem)))


def test_a_channel_that_nobody_hears_goes_with_its_weights(rng: np.random.Generator) -> None:
    """All who read it multiply it by zero; what fed it alone goes as well."""
    net = Chain(rng, dead=())
    graph = net.read(net.stem)
    assert graph.nodes[-1].weights is not None
    graph.nodes[-1].weights.codes[..., 3] = 0

    assert {"stem.out": CHANNELS - 1} == channels(applied(remove_dead_channels, graph))


def test_one_reader_that_listens_keeps_a_channel(rng: np.random.Generator) -> None:
    """Two branches read it; only one of them is deaf."""
    net = Chain(rng, dead=())
    weights = random_weights(rng, (2, 1, 1, CHANNELS))
    weights.codes[..., 3] = 0
    deaf = net.add(Conv2D(), net.stem, weights=weights, name="deaf")
    listener = net.add(
        Conv2D(), net.stem, weights=random_weights(rng, (2, 1, 1, CHANNELS)), name="listener"
    )
    graph = net.graph(deaf, listener)

    assert graph is remove_dead_channels(graph)


def test_a_dead_channel_that_is_an_output_stays(rng: np.random.Generator) -> None:
    """The caller's buffer has its shape in the header."""
    net = Chain(rng)
    graph = net.graph("stem.out")

    assert graph is remove_dead_channels(graph)


def test_a_chain_of_layers_loses_what_only_the_dead_needed(rng: np.random.Generator) -> None:
    """Death spreads backward: who feeds nobody else but the dead is dead too."""
    net = Chain(rng, dead=())
    first = random_weights(rng, (4, 1, 1, CHANNELS))
    first.codes[1:, ..., 5] = 0  # channel 5 is heard by the first output only
    second = random_weights(rng, (3, 1, 1, 4))
    second.codes[..., 0] = 0  # which nobody hears
    middle = net.add(Conv2D(), net.stem, weights=first, name="middle")
    graph = net.graph(net.add(Conv2D(), middle, weights=second, name="last"))

    assert {"stem.out": 5, "middle.out": 3} == channels(applied(remove_dead_channels, graph))


@pytest.mark.parametrize("zero_point", [-128, 17])
def test_at_a_padded_border_only_the_zero_point_can_be_folded(
    zero_point: int, rng: np.random.Generator
) -> None:
    """The border shows the zero point and not the constant: a bias would be wrong there."""
    zero = Chain(rng, zero_point=zero_point, bias=0).read("stem.out", kernel=3, padding=1)
    other = Chain(rng, zero_point=zero_point, bias=700).read("stem.out", kernel=3, padding=1)

    assert {"stem.out": 4} == channels(applied(remove_dead_channels, zero))
    assert {"stem.out": 6} == channels(applied(remove_dead_channels, other))


def test_a_constant_goes_where_no_tap_of_the_border_has_weight(rng: np.random.Generator) -> None:
    """The middle of a 3x3 window always lies in the image."""
    net = Chain(rng, bias=700)
    graph = net.read("stem.out", kernel=3, padding=1)
    codes = graph.nodes[-1].weights.codes
    middle = codes[:, 1, 1, 1].copy()
    codes[..., 1] = 0
    codes[:, 1, 1, 1] = middle

    assert {"stem.out": 5} == channels(applied(remove_dead_channels, graph))


# channels left behind the layer and before it
THROUGH = [
    (MaxPool2D(kernel=(2, 2), stride=(2, 2), padding=(0, 1, 0, 1)), 4, 4),
    (AvgPool2D(kernel=(2, 2), stride=(1, 1), padding=(1, 1, 1, 1)), 4, 4),
    (Mean(), 4, 4),
    (Mean(keep_dims=False), 4, 4),
    (Requantize(clamp=(-3, 50)), 4, 4),
    (Lut(), 4, 4),
    (Upsample2D(factor=(2, 1)), 4, 4),
    (Pad(before=(1, 0, 0), value=9), 6, 6),  # no constant any more
    (Pad(before=(0, 0, 2), after=(0, 0, 1), value=9), 4, 4),  # its own channels are constants too
    (Reshape(shape=(25 * CHANNELS,)), 25 * 4, 4),
    (Reshape(shape=(5, 1, 5 * CHANNELS)), 5 * 4, 4),
    (Reshape(shape=(25, 2, CHANNELS // 2)), 2, 4),  # 1 and 4 stand in one column
    (Reshape(shape=(5, 6, 5)), 5, 6),  # 5 is no multiple of 6
    (Softmax(), 6, 6),
]


@pytest.mark.parametrize(("op", "left", "left_before"), THROUGH, ids=str)
def test_dead_channels_leave_through_layers_that_keep_channels_apart(
    op: Op[Any], left: int, left_before: int, rng: np.random.Generator
) -> None:
    """A pool or a flatten between two convolutions must not keep the dead."""
    net = Chain(rng, bias=1 << 20)
    after = applied(remove_dead_channels, net.read(net.through(op, net.stem)))

    assert left == after.tensors["through.out"].shape[-1]
    assert left_before == after.tensors["stem.out"].shape[-1]


@pytest.mark.parametrize("multiplier", [1, 2])
@pytest.mark.parametrize(("padding", "bias", "left"), [(0, 700, 4), (1, 0, 4), (1, 700, 6)])
def test_a_depthwise_layer_loses_the_channels_of_its_input(
    multiplier: int, padding: int, bias: int, left: int, rng: np.random.Generator
) -> None:
    """Without padding, or with the zero point in it, a constant stays one."""
    net = Chain(rng, bias=bias)
    depthwise = net.add(
        DWConv2D(padding=(padding,) * 4),
        net.stem,
        weights=random_weights(rng, (CHANNELS * multiplier, 3, 3)),
        bias=rng.integers(-90, 90, CHANNELS * multiplier).astype(np.int32),
        name="dw",
    )
    after = applied(remove_dead_channels, net.read(depthwise))

    assert {"stem.out": left, "dw.out": left * multiplier} == channels(after)


def test_a_dead_depthwise_channel_takes_a_live_input_with_it(rng: np.random.Generator) -> None:
    """Nothing but the dead channel read it."""
    net = Chain(rng, dead=())
    weights = random_weights(rng, (CHANNELS, 3, 3))
    weights.codes[2] = 0
    depthwise = net.add(DWConv2D(padding=(1, 1, 1, 1)), net.stem, weights=weights, name="dw")
    after = applied(remove_dead_channels, net.read(depthwise))

    assert {"stem.out": 5, "dw.out": 5} == channels(after)


@pytest.mark.parametrize(("dead", "left"), [((2, 3), 4), ((2,), 6)])
def test_a_group_goes_only_as_a_whole(
    dead: tuple[int, ...], left: int, rng: np.random.Generator
) -> None:
    """Groups have one size."""
    net = Chain(rng, dead=dead)
    grouped = net.add(
        Conv2D(groups=3), net.stem, weights=random_weights(rng, (6, 1, 1, 2)), name="grouped"
    )
    after = applied(remove_dead_channels, net.read(grouped))

    assert {"stem.out": left, "grouped.out": left} == channels(after)
    assert after.nodes[1].op == Conv2D(groups=left // 2)


@pytest.mark.parametrize(("op", "left"), [(Add(), 5), (Mul(), 3)], ids=["add", "mul"])
def test_a_sum_loses_what_is_constant_in_both(
    op: Op[Any], left: int, rng: np.random.Generator
) -> None:
    """Channels 4 and 5 are 0 in one branch each: a sum is alive there, a product is not."""
    net = Chain(rng)
    weights = random_weights(rng, (CHANNELS, 1, 1, 3))
    weights.codes[[1, 5]] = 0
    other = net.add(Conv2D(), net.x, weights=weights, name="other")
    both = net.through(op, net.stem, other, output=grid(0.1, 3))
    after = applied(remove_dead_channels, net.read(both))

    assert dict.fromkeys(("stem.out", "other.out", "through.out"), left) == channels(after)


def test_a_branch_that_is_read_elsewhere_keeps_its_channels(rng: np.random.Generator) -> None:
    """The skip connection of a residual block."""
    net = Chain(rng, dead=())
    weights = random_weights(rng, (CHANNELS, 1, 1, CHANNELS))
    weights.codes[0] = 0
    inner = net.add(Conv2D(), net.stem, weights=weights, name="inner")
    graph = net.read(net.through(Add(), net.stem, inner, output=grid(0.1, 3)))

    assert graph is remove_dead_channels(graph)


def test_an_operand_of_one_element_keeps_every_channel(rng: np.random.Generator) -> None:
    """It belongs to all of them."""
    net = Chain(rng)
    scalar = net.input(s8(1))
    graph = net.read(net.through(Mul(), net.stem, scalar, output=grid(0.1, 3)))

    assert graph is remove_dead_channels(graph)


@pytest.mark.parametrize("axis", [-1, 0])
def test_a_concat_loses_channels_of_each_part(axis: int, rng: np.random.Generator) -> None:
    """Along the channels each part loses its own; along others all lose what all have lost."""
    net = Chain(rng)
    weights = random_weights(rng, (CHANNELS, 1, 1, 3))
    weights.codes[1] = 0
    other = net.add(Conv2D(), net.x, weights=weights, output=grid(0.05, 0), name="other")
    after = applied(remove_dead_channels, net.read(net.through(Concat(axis=axis), net.stem, other)))

    expected = (4, 5, 9) if axis == -1 else (5, 5, 5)
    assert expected == tuple(channels(after).values())


def test_where_all_channels_are_dead_one_is_left(rng: np.random.Generator) -> None:
    """There are no empty tensors; the output no longer depends on the input, and says so."""
    net = Chain(rng, dead=range(CHANNELS), bias=700)
    after = applied(remove_dead_channels, net.read(net.stem))

    assert {"stem.out": 1} == channels(after)
    assert after.nodes[-1].weights is not None
    assert not after.nodes[-1].weights.values.any()


def test_constant_channels_that_must_stay_lose_their_weights(rng: np.random.Generator) -> None:
    """An output of the graph that a clamp always holds: zeros pack better, and feed on nothing."""
    net = Chain(rng, dead=())
    weights = random_weights(rng, (2, 1, 1, CHANNELS))
    weights.codes[0] = 0
    weights.codes[0, ..., 2] = 1  # nobody else hears channel 2
    weights.codes[1, ..., 2] = 0
    bias = np.array([1 << 20, 0], np.int32)
    graph = net.graph(net.add(Conv2D(), net.stem, weights=weights, bias=bias, name="last"))
    after = applied(remove_dead_channels, graph)

    assert {"stem.out": 5} == channels(after)
    assert after.nodes[-1].weights is not None
    assert not after.nodes[-1].weights.codes[0].any()


def test_a_table_of_levels_without_zero_goes_on_computing(rng: np.random.Generator) -> None:
    """Its constants cannot be written without weights."""
    net = Chain(rng, dead=())
    weights = Weights(
        codes=rng.integers(0, 2, (2, 1, 1, CHANNELS)).astype(np.int8),
        bits=1,
        scale=np.ones(1, np.float32),
        levels=(-1, 1),
    )
    bias = np.array([1 << 20, 0], np.int32)
    graph = net.graph(net.add(Conv2D(), net.stem, weights=weights, bias=bias, name="last"))

    assert graph is remove_dead_channels(graph)


def test_a_bias_that_would_leave_int32_is_not_folded(rng: np.random.Generator) -> None:
    """Nobody has such biases; but then the pass must not make an illegal graph of a legal one."""
    net = Chain(rng, bias=700)
    graph = net.read(net.stem)
    last = replace(graph.nodes[-1], bias=np.array([(1 << 31) - 1, 0], np.int32))
    graph = graph.with_nodes((*graph.nodes[:-1], last))

    assert {"stem.out": 6} == channels(remove_dead_channels(graph))


def test_a_border_of_channels_that_is_gone_lets_the_pad_be_absorbed(
    rng: np.random.Generator,
) -> None:
    """In the flow the pass stands before those that look for pads."""
    net = Chain(rng, dead=())
    padded = net.through(Pad(before=(1, 1, 1), after=(1, 1, 0)), net.stem)
    graph = passes.run(net.read(padded, kernel=3))

    assert ["conv2d", "conv2d"] == [node.op.kind for node in graph.nodes]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("network", NETWORKS)
def test_nothing_leaves_the_networks_that_kernels_are_measured_with(
    network: str, variant: str
) -> None:
    """Else a figure would be of another network than its name says."""
    graph = benchmark(network, variant)

    assert graph is remove_dead_channels(graph)
