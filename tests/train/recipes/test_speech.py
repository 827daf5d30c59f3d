# SPDX-License-Identifier: Apache-2.0
"""The published front end."""

from pathlib import Path

import numpy as np
import pytest

from codeq_train.recipes import speech


@pytest.mark.parametrize("part", range(4))
def test_features_are_those_of_mlperf_tiny(shared: Path, part: int) -> None:
    """A front end that differs a little is a model that is wrong a little more often."""
    with np.load(shared / "data" / "kws" / "kws_audio480.npz") as stored:
        clips, features, codes = (stored[k][part::4] for k in ("audio", "mfcc", "mfcc_i8"))
    ours = speech.mfcc(clips)

    # float32 sums in another order: far below a step of 0.58
    assert np.abs(ours - features).max() < 2e-3
    different = speech.quantize(ours) != codes
    assert different.mean() < 1e-3
