# SPDX-License-Identifier: Apache-2.0
"""Profiles of emitted libraries: sums that hold, counts that stay, errors that help."""

from pathlib import Path

import numpy as np
import pytest

import codeq_compile
from codeq_compile import manifest, target
from codeq_compile.build import counter, firmware, tools
from codeq_compile.errors import Mismatch, ToolError
from codeq_compile.profile import Profile, profile
from codeq_compile.profile.instructions import CLASSES
from tests.boards import EMULATED, FAST, each, found
from tests.libraries import emitted, hostile, rows, small_conv

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


@pytest.fixture(autouse=True, scope="module")
def _tools() -> None:
    found(tools.arm_cc)
    found(tools.qemu)


@pytest.fixture(params=each(EMULATED), scope="module")
def profiled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Profile]:
    """A library of a convolution and a linear layer, and its profile."""
    directory = tmp_path_factory.mktemp(request.param)
    emitted(small_conv(), directory, request.param)
    return directory, profile(directory)


def test_layers_and_glue_are_the_whole_call(profiled: tuple[Path, Profile]) -> None:
    """Instructions that belong to nobody are where time is lost unseen."""
    _, result = profiled
    parts = [layer.part for layer in result.layers] + [result.glue]

    assert result.total.instructions == sum(part.instructions for part in parts) == result.most
    assert result.total.taken == sum(part.taken for part in parts)
    assert result.total.unaligned == sum(part.unaligned for part in parts)


def test_classes_add_up(profiled: tuple[Path, Profile]) -> None:
    """An instruction is in one class, and every one is in some class."""
    _, result = profiled

    parts = [layer.part for layer in result.layers] + [result.glue]

    for part in (*parts, result.total):
        assert list(CLASSES) == list(part.classes)
        assert part.instructions == sum(part.classes.values())
    for name in CLASSES:
        assert result.total.classes[name] == sum(part.classes[name] for part in parts)


def test_a_profile_is_the_same_every_time(profiled: tuple[Path, Profile]) -> None:
    """A figure that moves by itself hides whether a kernel became faster."""
    directory, result = profiled

    assert result == profile(directory)


def test_layers_are_those_of_the_manifest(profiled: tuple[Path, Profile]) -> None:
    """Counts that stand at another layer's name send an optimizer to the wrong kernel."""
    directory, result = profiled
    library = manifest.read(directory)

    assert [(e.index, e.name, e.op, e.kernel) for e in library.layers] == [
        (e.index, e.name, e.op, e.kernel) for e in result.layers
    ]
    # 6·5 pixels of 4·3·3·3 products, 3·120 products
    assert [30 * 108, 360] == [layer.macs for layer in result.layers]


@pytest.mark.parametrize("board", FAST)
def test_what_is_counted_is_the_code_that_ships(board: str, tmp_path: Path) -> None:
    """A marker in a layer would cost instructions, or keep the compiler from optimizing."""
    emitted(small_conv(), tmp_path, board)

    def functions(app: firmware.App) -> dict[str, int]:
        image = firmware.build(tmp_path, target.load(board), app=app)
        spans = counter.read_code(image.elf).functions
        return {name: end - start for name, (start, end) in spans.items()}

    sizes, counted_sizes = functions("footprint"), functions("profile")

    # the test program calls functions of libc.c, which the model itself may not need
    assert sizes.items() <= counted_sizes.items()
    assert {layer.kernel for layer in manifest.read(tmp_path).layers} < sizes.keys()


def test_inner_loops_in_fast_memory_count_as_their_layers(tmp_path: Path) -> None:
    """Placed or not a layer executes about the same; loops that stand apart are not inlined."""
    totals, sections = [], []
    for name, place in (("plain", ""), ("placed", "code=itcm")):
        codeq_compile.compile(small_conv(), tmp_path / name, target="mps3_an547", place=place)
        result = codeq_compile.profile(tmp_path / name, samples=1)
        assert isinstance(result, Profile)
        parts = [layer.part.instructions for layer in result.layers] + [result.glue.instructions]
        assert result.total.instructions == sum(parts)
        totals.append(result.total.instructions)
        image = firmware.build(tmp_path / name, target.load("mps3_an547"), app="profile")
        sections.append(len(counter.read_code(image.elf).sections))

    assert [1, 2] == sections
    assert max(totals) < 1.5 * min(totals)


def test_calls_of_every_sort_are_told_apart(tmp_path: Path) -> None:
    """Two inputs, branches, tables, outputs of two types: one call a layer, whatever it is."""
    emitted(hostile(), tmp_path, "mps2_an386")

    result = profile(tmp_path)

    assert len(manifest.read(tmp_path).layers) == len(result.layers)
    assert all(layer.part.instructions > 0 for layer in result.layers)


def test_the_table_is_of_the_sample_with_the_most(tmp_path: Path) -> None:
    """The worst of the samples is what a deadline is planned with."""
    emitted(small_conv(), tmp_path, "mps2_an386")
    samples = np.random.default_rng(3).integers(-128, 128, (3, 6, 5, 3)).astype(np.int8)
    each_alone = [profile(tmp_path, inputs={"x0": one[np.newaxis]}).most for one in samples]

    together = profile(tmp_path, inputs={"x0": samples})

    assert (min(each_alone), max(each_alone)) == (together.fewest, together.most)
    assert max(each_alone) == together.total.instructions
    assert len(samples) == together.samples


def test_the_estimate_lies_in_its_range(profiled: tuple[Path, Profile]) -> None:
    """And a range that is a point would be a measurement, which it is not."""
    _, result = profiled

    for part in (*(layer.part for layer in result.layers), result.glue, result.total):
        assert 0 < part.estimate.low <= part.estimate.likely <= part.estimate.high
    assert result.total.estimate.low < result.total.estimate.high


def test_a_library_that_fails_has_no_profile(tmp_path: Path) -> None:
    """A layer that gives up at once would look fast."""
    emitted(small_conv(), tmp_path, "mps2_an386")
    source = tmp_path / "small.c"
    source.write_text(source.read_text().replace("return CQ_OK;", "return CQ_ERROR_ARGUMENT;"))

    with pytest.raises(Mismatch, match="small on mps2_an386: sample 0 ended with status"):
        profile(tmp_path)


def test_a_library_that_calls_other_kernels_is_refused(tmp_path: Path) -> None:
    """Layers are told apart by their order alone."""
    emitted(small_conv(), tmp_path, "mps2_an386")
    library = manifest.read(tmp_path)
    source = tmp_path / "small.c"
    call = next(line for line in source.read_text().splitlines() if "CQ_TRY" in line)
    source.write_text(source.read_text().replace(call, f"{call}\n{call}"))

    with pytest.raises(ToolError, match=f"calls {len(library.layers) + 1} kernels, not the"):
        profile(tmp_path)


@pytest.mark.parametrize("board", FAST)
def test_a_layer_of_a_stream_is_the_sum_of_its_calls(board: str, tmp_path: Path) -> None:
    """Row by row a layer costs what it did as a whole, and a little for each call."""
    emitted(rows(), tmp_path / "whole", board)
    library = emitted(rows(), tmp_path / "rows", board, stream="auto")

    whole, streamed = profile(tmp_path / "whole"), profile(tmp_path / "rows")

    assert len(library.calls) > len(streamed.layers) == len(whole.layers)
    for before, after in zip(whole.layers, streamed.layers, strict=True):
        assert before.macs == after.macs
        assert before.part.instructions < after.part.instructions
    parts = [*(layer.part for layer in streamed.layers), streamed.glue]
    assert streamed.total.instructions == sum(part.instructions for part in parts)
