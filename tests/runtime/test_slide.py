# SPDX-License-Identifier: Apache-2.0
"""Windows of rows: what stays moves to the beginning, and nothing else is touched."""

import subprocess
from itertools import product
from pathlib import Path

import cffi
import numpy as np

from codeq_compile.build import tools
from codeq_compile.build.host import STRICT_FLAGS
from codeq_compile.resources import runtime_dir
from tests.boards import found

BEHIND = 8


def test_rows_that_stay_move_to_the_beginning(tmp_path: Path, rng: np.random.Generator) -> None:
    """Near rows overlap, and memcpy may not: a byte too many damages what stands behind."""
    root, library = runtime_dir(), tmp_path / "slide.so"
    source = root / "src" / "slide" / "slide.c"
    flags = ["-std=c99", "-O2", "-shared", "-fPIC", *STRICT_FLAGS, f"-I{root / 'include'}"]
    subprocess.run(
        [*found(tools.host_cc).command, *flags, str(source), "-o", str(library)], check=True
    )
    ffi = cffi.FFI()
    ffi.cdef("void cq_slide(int8_t *window, uint32_t dropped, uint32_t kept);")
    slide = ffi.dlopen(str(library)).cq_slide

    for dropped, kept in product((1, 2, 3, 7, 16), (0, 1, 2, 3, 5, 8, 16, 33)):
        window = rng.integers(-128, 128, dropped + kept + BEHIND).astype(np.int8)
        expected = window.copy()
        expected[:kept] = window[dropped : dropped + kept]

        slide(ffi.from_buffer("int8_t[]", window), dropped, kept)

        assert np.array_equal(expected, window)
