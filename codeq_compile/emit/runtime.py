# SPDX-License-Identifier: Apache-2.0
"""Which files of `runtime_c` a model needs: its kernels, what they include, what defines that."""

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from codeq_compile.kernels import Kernel
from codeq_compile.resources import license_file, runtime_dir

SLIDE_HEADER = "codeq/slide.h"
SLIDE_SOURCE = "src/slide/slide.c"
"""What moves rows in their windows."""

_INCLUDE = re.compile(r'^\s*#\s*include\s+(?:"([^"]+)"|<(codeq/[^>]+)>)', re.MULTILINE)


def needed(kernels: Iterable[Kernel], *, slides: bool = False) -> dict[str, bytes]:
    """Contents of the `runtime/` folder of a library, by path below it, sorted.

    Parameters
    ----------
    kernels : iterable of Kernel
        Those that the library calls.
    slides : bool
        It moves rows in windows.
    """
    root = runtime_dir()
    waiting = [PurePosixPath("include/codeq/types.h")]
    if slides:
        waiting += [PurePosixPath(SLIDE_SOURCE), PurePosixPath("include", SLIDE_HEADER)]
    for kernel in kernels:
        waiting += [PurePosixPath(kernel.source), PurePosixPath("include", kernel.header)]
    found: dict[str, bytes] = {}
    while waiting:
        path = waiting.pop()
        if str(path) not in found:
            found[str(path)] = (root / path).read_bytes()
            waiting += _includes(root, path, found[str(path)].decode())
            source = path.with_suffix(".c")
            if path.suffix == ".h" and (root / source).is_file():
                waiting.append(source)  # what kernels share is compiled once
    found["LICENSE"] = license_file().read_bytes()
    return dict(sorted(found.items()))


def _includes(root: Path, path: PurePosixPath, text: str) -> list[PurePosixPath]:
    """Files of the runtime that one of its files includes, whatever the preprocessor decides."""
    files = []
    for quoted, bracketed in _INCLUDE.findall(text):
        if bracketed:
            files.append(PurePosixPath("include", bracketed))
        else:
            absolute = (root / path.parent / quoted).resolve()
            files.append(PurePosixPath(absolute.relative_to(root.resolve()).as_posix()))
    return files
