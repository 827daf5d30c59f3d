# SPDX-License-Identifier: Apache-2.0
"""Rebuild the shipped watch recordings from the `seglearn` package (BSD-3).

pip install seglearn==1.2.5 --no-deps && python -m codeq_train.recipes.rebuild_watch_data
"""

import hashlib
import importlib.util
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from codeq_train.recipes.datasets.watch import ARCHIVE, UNITS

# The source is a pickle, which can run code when it is opened: nothing but these bytes is opened.
SOURCE_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"


def source() -> bytes:
    """The data file of the installed `seglearn`, found without importing the package.

    Raises
    ------
    SystemExit
        If seglearn is not installed, or another version of its data is.
    """
    spec = importlib.util.find_spec("seglearn")
    if spec is None or spec.origin is None:
        raise SystemExit("seglearn is not installed: pip install seglearn==1.2.5 --no-deps")
    data = Path(spec.origin).with_name("data").joinpath("watch_dataset.npy").read_bytes()
    if hashlib.sha256(data).hexdigest() != SOURCE_SHA256:
        raise SystemExit("watch_dataset.npy is not that of seglearn 1.2.5: install that version")
    return data


def convert(data: bytes) -> dict[str, npt.NDArray[np.generic]]:
    """Recordings as int8 counts, end to end, in the order of person, side and exercise.

    Returns
    -------
    dict of arrays
        `signal` int8 of shape (samples, 6) in steps of `UNITS`, `length` int32 of shape
        (recordings,) in samples, and per recording `exercise`, `subject` (1 to 10) and `side`
        (1 right, 0 left) as uint8.
    """
    watch = np.load(io.BytesIO(data), allow_pickle=True).item()
    order = np.lexsort((watch["y"], watch["side"], watch["subject"]))
    signal = np.concatenate([watch["X"][i] for i in order]) / np.asarray(UNITS)
    return {
        "signal": np.clip(np.rint(signal), -127, 127).astype(np.int8),
        "length": np.asarray([len(watch["X"][i]) for i in order], np.int32),
        "exercise": watch["y"][order].astype(np.uint8),
        "subject": watch["subject"][order].astype(np.uint8),
        "side": watch["side"][order].astype(np.uint8),
        "exercises": np.asarray(watch["y_labels"]),
    }


def main() -> None:
    """Write the archive in place."""
    np.savez_compressed(ARCHIVE, **convert(source()))  # type: ignore[arg-type]  # numpy types names as its options
    print(f"{ARCHIVE}: {ARCHIVE.stat().st_size} bytes")


if __name__ == "__main__":
    main()
