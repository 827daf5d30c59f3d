# SPDX-License-Identifier: Apache-2.0
"""The macros of inputs and outputs say what the IR says."""

import ctypes
from dataclasses import replace

import numpy as np

from codeq_compile.emit.names import choose
from codeq_compile.emit.ports import ports
from codeq_compile.ir import Graph
from tests.graphs import grid
from tests.libraries import hostile, planned, renamed, small_conv


def macros(graph: Graph) -> dict[str, str]:
    """Value by macro, comments removed."""
    inputs, outputs = ports(plan := planned(graph), choose(plan))
    lines = [line for port in (*inputs, *outputs) for line in port.macros("NET")]
    words = (line.removeprefix("#define ").partition("/*")[0] for line in lines)
    return {name: value.strip() for name, _, value in (word.partition(" ") for word in words)}


def test_sizes_and_shape_are_those_of_the_tensor() -> None:
    """A caller allocates by them."""
    defined = macros(small_conv())

    assert ("90", "90", "3") == tuple(defined[f"NET_X0_{n}"] for n in ("BYTES", "ELEMENTS", "RANK"))
    assert "{6, 5, 3}" == defined["NET_X0_SHAPE"]


def test_the_order_of_an_images_axes_is_said() -> None:
    """Who feeds channels first, as torch has them, gets nonsense and no error."""

    def order(provenance: dict[str, str]) -> str:
        plan = planned(replace(small_conv(), provenance=provenance))
        return ports(plan, choose(plan))[0][0].order

    assert "Its axes are h, w, c." == order({})
    turned = order({"axes of x0": "1 2 0"})
    assert "Its axes are h, w, c, which are axes 1 2 0 of the trained model's." == turned
    assert "Its axes are h, w, c." == order({"axes of x0": "1 0"})  # of a sequence
    assert "" == ports(plan := planned(small_conv()), choose(plan))[1][0].order


def test_the_scale_literal_is_exactly_the_grids() -> None:
    """A caller that dequantizes must get the very floats that Python gets."""
    graph = small_conv()
    for scale in (0.02, 1 / 3, 1e-20, 3.0, 2.0**100, float(np.float32(1.1754944e-38))):
        kinds = dict(graph.tensors)
        fitted = grid(scale, -128)
        kinds["x0"] = type(kinds["x0"])(shape=kinds["x0"].shape, grid=fitted)
        plan = replace(planned(graph), graph=replace(graph, tensors=kinds))
        inputs, _ = ports(plan, choose(plan))

        line = next(line for line in inputs[0].macros("NET") if "SCALE" in line)

        literal, exact = line.split()[2].removesuffix("f"), line.split()[-2]
        assert fitted.scale == float.fromhex(exact)
        assert fitted.scale == ctypes.c_float(float(literal)).value


def test_plain_integers_have_no_grid() -> None:
    """A scale of an argmax would invite nonsense."""
    defined = macros(hostile())

    assert "64" == defined["NET_NA_VE_CLASS_BYTES"]
    assert "16" == defined["NET_NA_VE_CLASS_ELEMENTS"]
    assert "NET_NA_VE_CLASS_SCALE" not in defined


def test_parameters_are_const_where_they_are_read() -> None:
    """Inputs may lie in flash."""
    graph = renamed(small_conv(), {"x0": "frames"})
    inputs, outputs = ports(plan := planned(graph), choose(plan))

    assert ["const int8_t *frames"] == [port.parameter for port in inputs]
    assert ["int8_t *head_out"] == [port.parameter for port in outputs]


def test_in_the_arena_a_port_is_a_function_and_no_parameter() -> None:
    """Its place is the plan's business; a caller who computes it himself would err one day."""
    plan = planned(small_conv(), io="arena")
    (image,), (scores,) = ports(plan, choose(plan))

    assert [plan.memory.places[t].offset for t in ("x0", scores.tensor)] == [
        image.offset,
        scores.offset,
    ]
    text = " ".join(image.accessor("small"))
    assert text.startswith("static inline int8_t *small_x0_in(struct small_arena *arena)")
    assert str((image.offset or 0) // 4) in text or image.offset == 0
