# SPDX-License-Identifier: Apache-2.0
"""The shipped recordings are what the script makes of the published package."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from codeq_train.recipes import rebuild_watch_data
from codeq_train.recipes.datasets.watch import ARCHIVE


@pytest.mark.data
def test_the_shipped_recordings_are_rebuilt_from_their_source() -> None:
    """Nobody should have to take our word for where the data comes from."""
    if importlib.util.find_spec("seglearn") is None:
        pytest.skip("needs the data's source: pip install --no-deps seglearn==1.2.5")
    rebuilt = rebuild_watch_data.convert(rebuild_watch_data.source())

    with np.load(ARCHIVE) as shipped:
        assert sorted(rebuilt) == sorted(shipped.files)
        for name, array in rebuilt.items():
            assert array.dtype == shipped[name].dtype
            assert np.array_equal(array, shipped[name])


def test_a_source_with_other_bytes_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The source is a pickle: unknown bytes in it could run code."""
    (tmp_path / "seglearn" / "data").mkdir(parents=True)
    (tmp_path / "seglearn" / "__init__.py").touch()
    (tmp_path / "seglearn" / "data" / "watch_dataset.npy").write_bytes(b"anything")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(SystemExit, match=r"seglearn 1\.2\.5"):
        rebuild_watch_data.source()
