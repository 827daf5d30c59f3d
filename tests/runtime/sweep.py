# SPDX-License-Identifier: Apache-2.0
"""All jobs of the host in one process: `python -m tests.runtime.sweep LIBRARY`.

Buffers are exactly as large as their data, so that a sanitizer which the library was built with
sees every access outside them, tables and weight streams included.
"""

import sys
from pathlib import Path

import numpy as np

from tests.runtime.binding import Runtime
from tests.runtime.matrix import host_rows, jobs


def main(library: str) -> int:
    """Runs until a sanitizer stops the process; prints what ran, returns the failures."""
    runtime = Runtime(Path(library), guard=0)
    count = failures = 0
    for kernel in host_rows():
        for job in jobs(kernel):
            count += 1
            if not np.array_equal(job.expected[1], runtime.run(job, 1)):
                failures += 1
                print(f"{job} differs")
    print(f"{count} jobs, {failures} differ")
    return failures


if __name__ == "__main__":
    sys.exit(min(main(sys.argv[1]), 1))
