# SPDX-License-Identifier: Apache-2.0
"""A keyword set of random spectra, for tests that need its files and not its accuracy."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def write_clips(directory: Path, *, clips: int) -> dict[str, NDArray[np.generic]]:
    """Write the two files of `speech_commands`, two classes, a third of the clips in each split."""
    rng = np.random.default_rng(2)
    classes = np.arange(clips) % 2
    x = rng.integers(-40, 40, (clips, 49, 10)) + 30 * classes[:, None, None]
    stored: dict[str, NDArray[np.generic]] = {
        "x": x.astype(np.int8),
        "scale": np.asarray(0.5, np.float32),
        "zero_point": np.asarray(20),
        "y12": classes.astype(np.uint8),
        "split": (np.arange(clips) * 3 // clips).astype(np.uint8),
        "labels12": np.asarray(["go", "_silence_"]),
    }
    index = np.flatnonzero(stored["split"] == 0)[::2].astype(np.uint16)
    variants = np.stack([stored["x"][index], stored["x"][index]])
    np.savez(directory / "kws_mfcc_i8.npz", **stored)
    np.savez(directory / "kws_train_aug4_i8.npz", x=variants, index=index)
    return stored
