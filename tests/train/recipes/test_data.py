# SPDX-License-Identifier: Apache-2.0
"""What all data sets share: how archives are read, samples split, and values put on a grid."""

from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid
from codeq_train.recipes import data


def test_a_missing_or_foreign_file_is_an_input_error(tmp_path: Path) -> None:
    """A wrong --data must be told as such, not by a traceback."""
    path = tmp_path / "clips.npz"
    with pytest.raises(InputError, match=r"clips\.npz"):
        data.read_npz(path, ("x", "scale"))

    np.savez(path, x=np.zeros(3))
    with pytest.raises(InputError, match="scale is not a file in the archive"):
        data.read_npz(path, ("x", "scale"))

    np.save(tmp_path / "array", np.zeros(3))
    for damaged in (b"", b"hello", (tmp_path / "array.npy").read_bytes()):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"clips\.npz is damaged, or no \.npz file"):
            data.read_npz(path, ("x", "scale"))


def test_the_same_share_of_each_class_is_held_out() -> None:
    """A validation set without the rare classes would choose an epoch that is blind to them."""
    classes = np.asarray([0] * 40 + [1] * 20 + [0] * 40)
    out = data.held_out(classes, every=10)

    assert [8, 2] == np.bincount(classes[out]).tolist()
    assert 9 == np.flatnonzero(out)[0]


def test_values_beyond_the_sensor_saturate() -> None:
    """An accelerometer of 2 g shows 2 g, and not -2 g, when it is hit."""
    grid = Grid(scale=1 / 64, zero_point=0)
    x = data.on_grid(grid, np.asarray([0.004, 0.012, 5.0, -5.0]))

    assert [0.0, 1 / 64, 127 / 64, -2.0] == x.tolist()
