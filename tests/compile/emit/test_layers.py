# SPDX-License-Identifier: Apache-2.0
"""A layer's banner tells what was decided; its parameters and tables are the op's own."""

import re

import numpy as np

from codeq_compile.emit import format as c
from codeq_compile.emit.layers import layer_text
from codeq_compile.emit.names import choose
from codeq_compile.plan import Plan
from tests.libraries import hostile, planned, small_conv


def banner(plan: Plan, position: int = 0) -> str:
    return "\n".join(layer_text(plan, plan.layers[position], choose(plan)).banner)


def test_the_banner_names_what_a_reader_wants_to_know() -> None:
    """Name, shapes, width, gap, zeros, packing and its rivals, work, scratch."""
    plan = planned(small_conv())
    layer = plan.layers[0]
    assert layer.packed is not None
    assert layer.node.weights is not None
    packing, stream = layer.packed.packing, layer.packed.bytes
    rivals = [f"{name} {size} B" for name, size in layer.costs.items() if name != packing]

    text = banner(plan)

    assert text.startswith('---- l01 ---- conv2d "stem"    s8[6,5,3] -> s8[6,5,4]\n')
    zeros = c.percent(layer.node.weights.zeros)
    chosen = f"4-bit, gap 2, {zeros} zero, {packing} {stream} B   ({', '.join(rivals)})"
    assert f"weights    {chosen}\n" in text
    done, skipped = c.count(layer.macs_done), c.count(layer.macs - layer.macs_done)
    assert f"work       {c.count(layer.macs)} MAC, {done} done, {skipped} skipped\n" in text
    assert f"scratch    {layer.scratch_bytes} B\n" in text
    assert text.endswith(f"kernel     {layer.kernel.symbol}")


def test_a_banner_of_long_and_hostile_names_stays_one_comment_of_100_columns() -> None:
    """A layer's name may be anything; it must neither end the comment nor the line's limit."""
    plan = planned(hostile())
    for position in range(len(plan.layers)):
        text = banner(plan, position)

        assert not re.search(r"\*/|/\*|\?\?", text)
        assert max(map(len, text.splitlines())) <= c.COMMENT_WIDTH


def test_tables_hold_the_packed_stream_and_the_integers() -> None:
    """What is printed is what was planned, byte for byte."""
    plan = planned(small_conv())
    layer = plan.layers[0]
    assert layer.packed is not None

    tables = {t.symbol: t for t in layer_text(plan, layer, choose(plan)).tables}

    printed = " ".join(tables["small_l01_weights"].rows)
    stream = bytes(int(word, 16) for word in re.findall("0x[0-9a-f]{2}", printed))
    assert layer.packed.data == stream
    assert np.array_equal(
        layer.node.params.requant.exponent, tables["small_l01_exponent"].array.data
    )
    assert {True} == {symbol.startswith("small_l01_") for symbol in tables}
