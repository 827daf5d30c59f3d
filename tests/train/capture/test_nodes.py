# SPDX-License-Identifier: Apache-2.0
"""Facts read from nodes of a traced graph."""

import torch
from torch import fx, nn

from codeq_train.capture.nodes import (
    advice,
    as_tuple,
    bind_arguments,
    is_in_place,
    is_tensor,
    layer_name,
    operation,
    reachable,
    sample_shape,
    source_line,
)
from codeq_train.capture.trace import trace
from tests.train.nets import Function, images


def nodes(module: nn.Module, *inputs: torch.Tensor) -> list[fx.Node]:
    return list(trace(module, inputs).graph.nodes)


def find(found: list[fx.Node], name: str) -> fx.Node:
    return next(node for node in found if node.op == "call_function" and operation(node) == name)


def test_arguments_have_names_and_defaults() -> None:
    """Handlers read `stride`, whether the user wrote it or not."""
    node = find(nodes(nn.Conv2d(2, 3, 3, padding=1), images(2, 2, 5, 5)), "conv2d")

    bound = bind_arguments(node)

    assert ([1, 1], [1, 1], 1) == (list(bound["stride"]), list(bound["padding"]), bound["groups"])


def test_modules_are_called_by_their_path_and_functions_by_their_name() -> None:
    """Reports speak of `block.0`, or of `block.add` where a module adds on its own."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.Sequential(nn.Sigmoid())

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.act(x) + self.act(x)

    found = nodes(nn.Sequential(Block()), images(2, 4))
    names = [layer_name(node) for node in found if node.op == "call_function"]

    assert ["0.act.0", "0.act.0", "0.add"] == names


def test_the_source_line_is_the_users() -> None:
    """Not a line inside torch."""
    node = find(nodes(Function(torch.sigmoid), images(2, 4)), "sigmoid")

    assert "nets.py" in source_line(node)
    assert "self.function(*inputs)" in source_line(node)


def test_in_place_operations_are_known_by_their_schema() -> None:
    """`relu_` overwrites, `relu` does not, `__and__` is no overwriting either."""
    found = nodes(Function(lambda x: torch.relu_(x + 1.0)), images(2, 4))

    assert is_in_place(find(found, "relu"))
    assert not is_in_place(find(found, "add"))


def test_sizes_are_no_tensors_and_the_first_result_counts() -> None:
    """Pooling that also returns indices is still a pooling."""
    found = nodes(
        Function(lambda x: nn.functional.adaptive_max_pool1d(x, 1).reshape(x.shape[0], -1)),
        images(2, 3, 4),
    )
    pool = find(found, "adaptive_max_pool1d")

    assert (3, 1) == sample_shape(pool)
    assert is_tensor(pool)
    assert not is_tensor(find(found, "sym_size"))


def test_only_what_an_output_needs_is_reachable() -> None:
    """Assertions and dead branches are not converted."""

    def dead(x: torch.Tensor) -> torch.Tensor:
        torch.sigmoid(x)
        return torch.tanh(x)

    found = nodes(Function(dead), images(2, 4))

    assert find(found, "tanh") in reachable(found)
    assert find(found, "sigmoid") not in reachable(found)


def test_advice_names_a_substitute_where_there_is_one() -> None:
    """A refusal alone does not help."""
    found = nodes(Function(lambda x: torch.log_softmax(torch.erfinv(x), 1)), images(2, 4))

    assert "cross_entropy" in advice(find(found, "log_softmax"))
    assert "no integer form" in advice(find(found, "erfinv"))


def test_one_number_stands_for_all_axes() -> None:
    """torch allows kernel_size=3 and kernel_size=(3,)."""
    assert (3, 3) == as_tuple(3, 2) == as_tuple([3], 2)
    assert (1, 2) == as_tuple([1, 2], 2)
