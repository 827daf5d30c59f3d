# SPDX-License-Identifier: Apache-2.0
"""Fashion-MNIST from its four idx files: the right pixels and splits."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import InputError
from codeq_train.recipes.datasets import fashion_mnist
from tests.train.recipes.files import write_fashion


@pytest.mark.parametrize("zipped", [True, False])
def test_idx_files_are_read_zipped_and_plain(tmp_path: Path, zipped: bool) -> None:
    """As they are published, and as many tools leave them."""
    images, classes = write_fashion(tmp_path, 40, zipped=zipped)["t10k"]
    test = fashion_mnist.load(tmp_path).test

    counts = fashion_mnist.GRID.quantize(test.x[:, 0].numpy())
    assert np.array_equal(images, counts.astype(int) + 128)
    assert classes.tolist() == test.y.tolist()


def test_a_twentieth_of_the_training_set_validates(tmp_path: Path) -> None:
    """The test set is for the report alone."""
    write_fashion(tmp_path, 200)
    clothes = fashion_mnist.load(tmp_path)

    assert (190, 10, 200) == (len(clothes.train), len(clothes.validation), len(clothes.test))
    assert [1] * 10 == np.bincount(clothes.validation.y).tolist()
    assert (7, 1, 28, 28) == tuple(clothes.draw(clothes.train.y[:7]).shape)


def test_other_files_are_input_errors(tmp_path: Path) -> None:
    """A wrong --data must be told as such."""
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte\.gz: No such file"):
        fashion_mnist.load(tmp_path)

    write_fashion(tmp_path, 20)
    labels = tmp_path / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(b"\0\0\x08\x01\0\0\0\x03abc"))
    with pytest.raises(InputError, match="20 train images have 3 labels"):
        fashion_mnist.load(tmp_path)

    for damaged in (b"\0\0\x08\x01\0\0\0\x04abc", b"hello", b""):
        labels.write_bytes(gzip.compress(damaged))
        with pytest.raises(InputError, match=r"labels-idx1-ubyte\.gz is not an idx file"):
            fashion_mnist.load(tmp_path)

    labels.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"train-labels-idx1-ubyte\.gz: Not a gzipped file"):
        fashion_mnist.load(tmp_path)


@pytest.mark.slow
def test_the_real_set_has_its_published_sizes(shared: Path) -> None:
    """60,000 and 10,000 images."""
    clothes = fashion_mnist.load(shared / "data" / "fashion_mnist")

    assert (57000, 3000, 10000) == (len(clothes.train), len(clothes.validation), len(clothes.test))
