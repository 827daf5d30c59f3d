# SPDX-License-Identifier: Apache-2.0
"""Kernels touch what they were given and nothing else, and do nothing that C leaves undefined."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.build.tools import host_cc
from codeq_compile.kernels import Kernel
from tests.runtime.binding import Buffers, Runtime, shared_library
from tests.runtime.matrix import host_rows, jobs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A library with AddressSanitizer and UBSan, and the library that must be loaded before it."""
    compiler = host_cc()
    if compiler.name != "gcc":
        pytest.skip(f"{compiler.name} has no sanitizer that a Python process can load; gcc has")
    found = subprocess.run(
        [*compiler.command, "-print-file-name=libasan.so"], capture_output=True, text=True
    ).stdout.strip()
    if not Path(found).is_absolute():
        pytest.skip("gcc was installed without libasan")
    library = shared_library(
        tmp_path_factory.mktemp("sanitized"),
        flags=["-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    )
    return library, str(Path(found).resolve())


@pytest.mark.slow
def test_no_sanitizer_objects_to_any_kernel_on_any_case(sanitized):
    """One byte read past a weight stream is a fault where the stream ends at the end of flash."""
    library, preload = sanitized
    environment = os.environ | {
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT),
    }

    done = subprocess.run(
        [sys.executable, "-m", "tests.runtime.sweep", str(library)],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )

    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert re.search(r"[1-9]\d+ jobs, 0 differ", done.stdout)


@pytest.mark.parametrize("kernel", host_rows(), ids=str)
def test_what_lies_in_scratch_does_not_matter(runtime, kernel: Kernel):
    """Layers share one scratch: a kernel that trusted its content would depend on its neighbours.

    Every call also checks the guard bytes around inputs, output, scratch and tables.
    """
    job = max(jobs(kernel), key=lambda job: job.scratch_bytes)

    outputs = [runtime.run(job, 0, scratch_fill=fill) for fill in (0x00, 0x80, 0xFF)]

    for output in outputs:
        np.testing.assert_array_equal(job.expected[0], output)


def test_the_guard_notices_a_byte_on_either_side(runtime: Runtime):
    """A guard that cannot fail would make the tests above worthless."""
    for offset in (-1, 4):
        with Buffers(runtime.ffi, runtime.ffi.dlopen(None), guard=8) as buffers:
            block = buffers.place(b"1234")
            buffers.assert_intact()
            block[offset] = b"!"
            with pytest.raises(AssertionError, match="written"):
                buffers.assert_intact()
