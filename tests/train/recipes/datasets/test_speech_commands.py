# SPDX-License-Identifier: Apache-2.0
"""The keyword set: read from its two files, split as they say."""

from pathlib import Path

import numpy as np

from codeq_train.recipes.datasets import speech_commands
from tests.train.recipes.clips import write_clips


def test_the_keyword_set_is_read_from_its_folder(tmp_path: Path) -> None:
    """The split of the file decides, and values come back on the file's grid."""
    stored = write_clips(tmp_path, clips=12)
    clips = speech_commands.load(tmp_path)

    assert ("go", "silence") == clips.labels
    for split, samples in enumerate((clips.train, clips.validation, clips.test)):
        chosen = stored["split"] == split
        assert np.array_equal(stored["x"][chosen], clips.grid.quantize(samples.x[:, 0].numpy()))
        assert stored["y12"][chosen].tolist() == samples.y.tolist()


def test_the_real_keyword_set_has_its_splits(shared: Path) -> None:
    """The sizes that docs/RECIPES.md states."""
    clips = speech_commands.load(shared / "data" / "kws")

    assert (11840, 1557, 1500) == (len(clips.train), len(clips.validation), len(clips.test))
    assert (1, 49, 10) == tuple(clips.test.x.shape[1:])
    assert 12 == len(clips.labels)
