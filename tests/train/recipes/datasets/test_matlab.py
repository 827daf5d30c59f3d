# SPDX-License-Identifier: Apache-2.0
"""`.mat` files as the format's description says, packed and not."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from codeq_compile.errors import InputError
from codeq_train.recipes.datasets import matlab
from tests.train.recipes.files import element, mat_array, mat_file


def test_arrays_of_doubles_are_read_by_name(tmp_path: Path) -> None:
    """The signals and the shaft's speed are in one file."""
    signal, speed = np.linspace(-1, 1, 7)[:, None], np.asarray([[1797.0]])
    path = tmp_path / "97.mat"
    path.write_bytes(mat_file(mat_array("X097_DE_time", signal) + mat_array("X097RPM", speed)))
    arrays = matlab.read(path)

    assert ["X097_DE_time", "X097RPM"] == list(arrays)
    assert np.array_equal(signal, arrays["X097_DE_time"])
    assert np.array_equal(speed, arrays["X097RPM"])


def test_packed_arrays_are_unpacked(tmp_path: Path) -> None:
    """MATLAB packs since version 7; a packed element is not padded to 8 bytes."""
    first, second = np.arange(6.0).reshape(2, 3), np.arange(4.0)[:, None]
    packed = b"".join(
        struct.pack("<II", 15, len(data)) + data
        for data in (zlib.compress(mat_array("a", first)), zlib.compress(mat_array("b", second)))
    )
    path = tmp_path / "x.mat"
    path.write_bytes(mat_file(packed))
    arrays = matlab.read(path)

    assert np.array_equal(first, arrays["a"])  # columns one after the other
    assert np.array_equal(second, arrays["b"])


@pytest.mark.parametrize(
    "numbers", [np.arange(3, dtype="<i2"), np.arange(2, dtype="<u1"), np.arange(5, dtype="<f4")]
)
def test_numbers_may_be_stored_smaller(tmp_path: Path, numbers: NDArray[np.generic]) -> None:
    """MATLAB stores doubles that are small whole numbers in as few bytes as possible."""
    kind = {"<i2": 3, "|u1": 2, "<f4": 7}[numbers.dtype.str]
    content = mat_array("x", numbers[:, None], part=element(kind, numbers.tobytes()))
    path = tmp_path / "x.mat"
    path.write_bytes(mat_file(content))

    assert np.array_equal(numbers[:, None], matlab.read(path)["x"])


def test_what_scipy_writes_is_read(tmp_path: Path) -> None:
    """Another implementation of the same description; texts are passed over."""
    scipy_io = pytest.importorskip("scipy.io", reason="compares with scipy where it is installed")
    signal = np.random.default_rng(1).normal(size=(50, 1))
    for packed in (False, True):
        path = tmp_path / f"{packed}.mat"
        scipy_io.savemat(path, {"signal": signal, "title": "ball"}, do_compression=packed)

        assert ["signal"] == list(matlab.read(path))
        assert np.array_equal(signal, matlab.read(path)["signal"])


def test_other_files_are_input_errors(tmp_path: Path) -> None:
    """Version 7.3 is another format altogether; a download may be cut short."""
    path = tmp_path / "x.mat"
    with pytest.raises(InputError, match=r"x\.mat: No such file"):
        matlab.read(path)

    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    with pytest.raises(InputError, match="not a little-endian MAT file of version 5"):
        matlab.read(path)

    whole = mat_file(mat_array("signal", np.arange(40.0)[:, None]))
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"x\.mat is damaged"):
        matlab.read(path)
