# SPDX-License-Identifier: Apache-2.0
"""CIFAR-10 from each of its archives: the right pixels, classes and splits."""

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_train.recipes.datasets import cifar10
from tests.train.recipes.pictures import BATCHES, Planes, write_binary, write_pickles


@pytest.mark.parametrize("write", [write_binary, write_pickles])
def test_both_archives_give_the_same_pictures(
    write: Callable[[Path, int], Planes], tmp_path: Path
) -> None:
    """Whichever of the two a user unpacked; the device feeds the pixels minus 128, interleaved."""
    test_planes, classes = write(tmp_path, 40)["test_batch"]
    test = cifar10.load(tmp_path).test

    pixels = cifar10.GRID.quantize(test.x.numpy()).astype(int) + 128
    assert np.array_equal(test_planes.reshape(-1, 3, 32, 32), pixels)
    assert classes.tolist() == test.y.tolist()


def test_the_folder_itself_may_be_given(tmp_path: Path) -> None:
    """People point at the folder with the files, or at the one around it."""
    write_binary(tmp_path, 20)

    assert 20 == len(cifar10.load(tmp_path / "cifar-10-batches-bin").test)


def test_the_validation_set_is_taken_from_the_training_set(tmp_path: Path) -> None:
    """Choosing an epoch on test images would make the reported accuracy a lie."""
    batches = write_binary(tmp_path, 80)
    pictures = cifar10.load(tmp_path)
    everything = np.concatenate([batches[name][0] for name in BATCHES[:5]])
    seen = np.concatenate(
        [cifar10.GRID.quantize(s.x.numpy()) for s in (pictures.train, pictures.validation)]
    )

    assert (380, 20, 80) == (len(pictures.train), len(pictures.validation), len(pictures.test))
    assert [2] * 10 == np.bincount(pictures.validation.y).tolist()
    found = {(row.reshape(-1).astype(int) + 128).astype(np.uint8).tobytes() for row in seen}
    assert {row.tobytes() for row in everything} == found


def test_jpeg_files_end_to_end_are_read(tmp_path: Path) -> None:
    """The form of a copy that is small enough to pass on."""
    image = pytest.importorskip("PIL.Image", reason="decoding JPEG needs pillow")
    rng = np.random.default_rng(3)
    pixels = np.repeat(rng.integers(0, 255, (40, 1, 1, 3)), 32 * 32, axis=1)
    stored = {}
    for part in ("train", "test"):
        files = []
        for picture in pixels.reshape(40, 32, 32, 3).astype(np.uint8):
            file = io.BytesIO()
            image.fromarray(picture).save(file, "JPEG", quality=95)
            files.append(file.getvalue())
        stored[f"jpeg_{part}"] = np.frombuffer(b"".join(files), np.uint8)
        stored[f"off_{part}"] = np.cumsum([0, *map(len, files)]).astype(np.uint32)
        stored[f"y_{part}"] = (np.arange(40) // 20).astype(np.uint8)
    np.savez(tmp_path / "cifar10_jpeg.npz", **stored)
    pictures = cifar10.load(tmp_path)

    read = cifar10.GRID.quantize(pictures.test.x[:, :, 9, 9].numpy()).astype(int) + 128
    assert np.abs(read - pixels[:, 0, 0]).max() <= 4  # one colour: JPEG's own rounding
    assert (38, 2) == (len(pictures.train), len(pictures.validation))


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    """Archives come from anywhere."""
    write_pickles(tmp_path, 10)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    path.write_bytes(pickle.dumps({"data": print}))

    with pytest.raises(InputError, match=r"data_batch_3.*asks for builtins\.print"):
        cifar10.load(tmp_path)


def test_foreign_and_damaged_files_are_input_errors(tmp_path: Path) -> None:
    """A wrong --data must be told as such, and where to get the right one."""
    with pytest.raises(InputError, match="unpack an archive of"):
        cifar10.load(tmp_path)

    write_binary(tmp_path, 10)
    folder = tmp_path / "cifar-10-batches-bin"
    (folder / "data_batch_2.bin").write_bytes(b"12345")
    with pytest.raises(InputError, match=r"data_batch_2\.bin: not a whole number of records"):
        cifar10.load(tmp_path)

    (folder / "data_batch_2.bin").unlink()
    with pytest.raises(InputError, match=r"data_batch_2\.bin: No such file"):
        cifar10.load(tmp_path)

    (folder / "test_batch.bin").rename(folder / "data_batch_2.bin")
    with pytest.raises(InputError, match=r"test_batch\.bin: No such file"):
        cifar10.load(tmp_path)


def test_a_damaged_jpeg_file_is_an_input_error(tmp_path: Path) -> None:
    """No traceback of Pillow."""
    pytest.importorskip("PIL", reason="decoding JPEG needs pillow")
    stored = {}
    for part in ("train", "test"):
        stored[f"jpeg_{part}"] = np.zeros(9, np.uint8)
        stored[f"off_{part}"] = np.asarray([0, 9])
        stored[f"y_{part}"] = np.zeros(1)
    np.savez(tmp_path / "cifar10_jpeg.npz", **stored)

    with pytest.raises(InputError, match=r"cifar10_jpeg\.npz holds a damaged image"):
        cifar10.load(tmp_path)


@pytest.mark.slow
def test_the_real_pictures_are_normalised_by_the_grid(shared: Path) -> None:
    """Mean 0 and deviation 1 without a step that the device would have to do too."""
    pytest.importorskip("PIL", reason="decoding JPEG needs pillow")
    pictures = cifar10.load(shared / "data" / "cifar10")

    assert (47500, 2500, 10000) == (
        len(pictures.train),
        len(pictures.validation),
        len(pictures.test),
    )
    assert abs(float(pictures.train.x.mean())) < 0.05
    assert 0.9 < float(pictures.train.x.std()) < 1.1
