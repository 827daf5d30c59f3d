# SPDX-License-Identifier: Apache-2.0
"""What a recipe trains on: three sets of samples on one int8 grid; reading and splitting them."""

import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from codeq_compile.errors import InputError
from codeq_compile.ir import Grid

Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Samples:
    """Inputs in torch's layout, and their classes.

    Parameters
    ----------
    x : float tensor of shape (samples, ...)
    y : int64 tensor of shape (samples,)
    """

    x: Tensor
    y: Tensor

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Three sets that share no person or recording, and how a training batch is drawn.

    Parameters
    ----------
    labels : tuple of str
        Class names.
    grid : Grid
        int8 grid that every input value lies on: the device feeds these integers.
    train, validation, test : Samples
        As they were recorded.
    draw : callable
        From indices into `train` to their inputs, varied anew each time.
    """

    labels: tuple[str, ...]
    grid: Grid
    train: Samples
    validation: Samples
    test: Samples
    draw: Callable[[Tensor], Tensor]


def read_npz(path: Path, names: Collection[str]) -> Arrays:
    """Arrays of an `.npz` file by name.

    Raises
    ------
    InputError
        It is missing, is something else, or lacks one of `names`.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in names}
    except KeyError as error:
        raise InputError(f"{path}: {error.args[0]}") from error
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        # numpy's own reason is advice to load a pickle, which may run any code
        raise InputError(f"{path} is damaged, or no .npz file of plain arrays") from error


def held_out(classes: NDArray[np.integer], *, every: int) -> NDArray[np.bool_]:
    """Every so many samples of each class, in the order of the file: a validation set.

    Parameters
    ----------
    classes : int array of shape (samples,)
    every : int
        One of this many is held out.

    Returns
    -------
    bool array of shape (samples,)
    """
    out = np.zeros(len(classes), bool)
    for each in np.unique(classes):
        out[np.flatnonzero(classes == each)[every - 1 :: every]] = True
    return out


def on_grid(grid: Grid, values: NDArray[np.floating]) -> Tensor:
    """Measured values as the device has them: on `grid`, limited to its range; float32 tensor."""
    return torch.from_numpy(grid.dequantize(grid.quantize(values)))
