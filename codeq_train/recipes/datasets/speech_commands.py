# SPDX-License-Identifier: Apache-2.0
"""Spoken keywords: MFCC images of Speech Commands (CC BY 4.0), ten words, silence and the rest.

The front end, the classes and the int8 input grid are those of MLPerf Tiny; `build_kws_data` makes
the files from the published archive.
"""

from pathlib import Path

import numpy as np
import torch

from codeq_compile.ir import Grid
from codeq_train.recipes import augment
from codeq_train.recipes.data import Dataset, Samples, read_npz


def load(directory: Path) -> Dataset:
    """MFCC images (1, 49, 10) of spoken words, split by speaker.

    Parameters
    ----------
    directory : Path
        With `kws_mfcc_i8.npz` (`x` int8 of shape (clips, 49, 10), `scale`, `zero_point`, `y12`,
        `split` 0/1/2 for train/validation/test, `labels12`) and `kws_train_aug4_i8.npz` (`x` int8
        of shape (variants, clips, 49, 10), `index` of each clip among those of the first file):
        the front end of MLPerf Tiny on clips of Speech Commands (CC BY 4.0), and on the same clips
        shifted and mixed with noise.

    Raises
    ------
    InputError
        A file is missing or is something else.
    """
    names = ("x", "scale", "zero_point", "y12", "split", "labels12")
    clips = read_npz(directory / "kws_mfcc_i8.npz", names)
    varied = read_npz(directory / "kws_train_aug4_i8.npz", ("x", "index"))
    grid = Grid(scale=float(clips["scale"]), zero_point=int(clips["zero_point"]))
    classes = torch.from_numpy(clips["y12"].astype(np.int64))
    images = torch.from_numpy(clips["x"].astype(np.int8))
    pool = augment.VariedClips(
        clips=images,
        variants=torch.from_numpy(varied["x"].astype(np.int8)),
        clip_of_variant=torch.from_numpy(varied["index"].astype(np.int64)),
        scale=grid.scale,
        zero_point=grid.zero_point,
    )
    train, validation, test = (
        torch.from_numpy(np.flatnonzero(clips["split"] == split)) for split in range(3)
    )
    return Dataset(
        labels=tuple(str(label).strip("_") for label in clips["labels12"]),
        grid=grid,
        train=Samples(x=pool.plain(train), y=classes[train]),
        validation=Samples(x=pool.plain(validation), y=classes[validation]),
        test=Samples(x=pool.plain(test), y=classes[test]),
        draw=lambda index: pool.draw(train[index]),
    )
