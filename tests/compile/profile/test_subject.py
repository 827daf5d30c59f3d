# SPDX-License-Identifier: Apache-2.0
"""What a profile needs is there before anything is built, or the message says what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from codeq_compile import target
from codeq_compile.arrays import random_inputs
from codeq_compile.errors import InputError
from codeq_compile.profile.subject import boards, prepare
from tests.boards import EMULATED
from tests.libraries import emitted, small_conv
from tests.networks import ds_cnn

PIXELS = (6, 5, 3)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution and a linear layer for an M4."""
    directory = tmp_path_factory.mktemp("small")
    emitted(small_conv(), directory, "mps2_an386")
    return directory


def test_the_board_is_the_librarys_own(library: Path) -> None:
    """Who compiled for a board wants to know about that board."""
    assert "mps2_an386" == prepare(library, None, None, 1, 0).board.name
    assert "microbit" == prepare(library, "microbit", None, 1, 0).board.name


def test_this_machine_is_refused_with_the_names_of_boards(library: Path) -> None:
    """The user needs to know what to write instead."""
    with pytest.raises(InputError, match=f"host cannot be profiled.*{', '.join(boards())}"):
        prepare(library, "host", None, 1, 0)


def test_every_board_can_be_profiled() -> None:
    """No core is left without figures."""
    assert set(target.names()) - {"host"} == set(boards()) > set(EMULATED)


def test_a_board_without_the_instructions_is_refused(tmp_path: Path) -> None:
    """The firmware would end in a fault, after minutes."""
    emitted(ds_cnn(np.random.default_rng(0)), tmp_path, "mps3_an547")

    with pytest.raises(InputError, match="mve kernels, which microbit cannot run"):
        prepare(tmp_path, "microbit", None, 1, 0)


def test_random_samples_are_the_same_every_time(library: Path) -> None:
    """Some kernels take longer for some values: two counts must be of one sample."""
    graph = prepare(library, None, None, 1, 0).graph

    rows = prepare(library, None, None, 3, 7).rows

    expected = random_inputs(graph, 3, 7)["x0"].reshape(3, -1).view(np.uint8)
    np.testing.assert_array_equal(expected, rows)


def test_samples_come_from_arrays_or_a_file(library: Path, tmp_path: Path) -> None:
    """Counts of real data are those of the field."""
    samples = np.arange(180, dtype=np.int16).reshape(2, *PIXELS).astype(np.int8)
    np.save(tmp_path / "x.npy", samples)

    for inputs in ({"x0": samples}, tmp_path / "x.npy"):
        rows = prepare(library, None, inputs, 1, 0).rows
        np.testing.assert_array_equal(samples.reshape(2, -1).view(np.uint8), rows)


def test_no_samples_are_refused(library: Path) -> None:
    """The most of nothing is no number."""
    with pytest.raises(InputError, match="the inputs hold no samples"):
        prepare(library, None, {"x0": np.zeros((0, *PIXELS), np.int8)}, 1, 0)


def test_macs_are_those_of_the_layer(library: Path) -> None:
    """Instructions a MAC is the figure that kernels are compared by."""
    subject = prepare(library, None, None, 1, 0)

    # 6·5 pixels of 4·3·3·3 products, 3·120 products
    assert [30 * 108, 360] == [subject.macs(layer) for layer in subject.library.layers]
