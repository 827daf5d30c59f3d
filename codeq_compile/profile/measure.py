# SPDX-License-Identifier: Apache-2.0
"""One question, two answers: instructions of an emulated board, cycles of a real one."""

from collections.abc import Mapping
from pathlib import Path

from codeq_compile.ir.op import Array
from codeq_compile.profile.counting import Profile, count
from codeq_compile.profile.subject import prepare
from codeq_compile.profile.timing import Timing, time

SAMPLES = 2


def profile(
    directory: Path,
    target: str | None = None,
    inputs: Mapping[str, Array] | Path | None = None,
    samples: int = SAMPLES,
    seed: int = 0,
) -> Profile | Timing:
    """What each layer of an emitted library costs on a board.

    Parameters
    ----------
    directory : Path
        What `emit` wrote.
    target : str, optional
        A board; default: the library's own.
    inputs : mapping of str to int array of shape (samples, *tensor shape), or Path, optional
        By input name, or a file for `arrays.read_inputs`.
    samples : int
        Random samples where `inputs` is absent.
    seed : int
        Of the random samples.

    Returns
    -------
    Profile or Timing
        Instructions, counted, of an emulated board; cycles, measured, of a real one.

    Raises
    ------
    InputError
        `directory` is no emitted library, the inputs do not fit, or the target is unknown, the
        host, cannot run the library, or is real and counts no cycles.
    Mismatch
        The C reports an error.
    ToolError
        A compiler is missing, or QEMU with plugins, or pyOCD and the board.
    """
    subject = prepare(directory, target, inputs, samples, seed)
    assert subject.board.run is not None
    measure = time if subject.board.run.runner == "pyocd" else count
    return measure(directory, subject)
