# SPDX-License-Identifier: Apache-2.0
"""Names in the emitted C: distinct, legal, and like the model's own."""

from dataclasses import replace

import pytest

from codeq_compile.emit import format as c
from codeq_compile.emit.names import choose
from codeq_compile.errors import ModelError
from tests.libraries import HOSTILE_NAMES, hostile, planned, renamed, small_conv


def test_parameters_resemble_the_tensors_and_clash_with_nothing() -> None:
    """Whoever calls the model looks for its own tensor names."""
    graph = renamed(small_conv(), {"x0": "MFCC.frames", "head.out": "small_l01_weights"})

    names = choose(planned(graph))

    assert {
        "MFCC.frames": "mfcc_frames",
        "small_l01_weights": "t_small_l01_weights",
    } == names.tensors
    assert ["l01", "l02"] == list(names.layers.values())
    assert ["t01"] == list(names.buffers.values())


def test_hostile_tensor_names_become_distinct_identifiers() -> None:
    """`register`, `t01` or a comment as a tensor's name must still give C that compiles."""
    names = choose(planned(hostile()))

    identifiers = [*names.tensors.values(), *names.layers.values(), *names.buffers.values()]
    assert set(HOSTILE_NAMES.values()) == names.tensors.keys()
    assert len(identifiers) == len(set(identifiers))
    assert not any(map(c.is_reserved, identifiers))


@pytest.mark.parametrize(
    "name", ["all", "test", "string", "stdint", "harness", "cq", "cq_net", "codeq", "n" * 41]
)
def test_a_model_name_that_would_break_the_build_is_refused(name: str) -> None:
    """A model called "string" hides <string.h>, and CMake has an "all": nothing builds."""
    plan = planned(replace(small_conv(), name=name))

    with pytest.raises(ModelError, match=r"choose .* with --name"):
        choose(plan)


def test_layers_sort_by_number_also_from_a_hundred_on() -> None:
    """l10 after l100 in a listing hides the order of execution."""
    plan = planned(small_conv())
    many = tuple(
        replace(plan.layers[0], index=i, node=replace(plan.layers[0].node, name=str(i)))
        for i in range(1, 101)
    )

    labels = list(choose(replace(plan, layers=many)).layers.values())

    assert sorted(labels) == labels
    assert ("l001", "l100") == (labels[0], labels[-1])
