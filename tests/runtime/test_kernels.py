# SPDX-License-Identifier: Apache-2.0
"""Every row of kernels.inc times its op's cases: C equals the golden, bit for bit."""

import re
from dataclasses import replace

import numpy as np
import pytest

from codeq_compile.emit.runtime import needed
from codeq_compile.kernels import Kernel, rows
from codeq_compile.resources import runtime_dir
from tests.runtime.matrix import Job, host_rows, jobs


@pytest.mark.parametrize("kernel", host_rows(), ids=str)
def test_the_kernel_equals_the_golden_on_every_case(runtime, kernel: Kernel):
    """A kernel that differs anywhere gives another result on the device than was promised."""
    differing = [
        f"{job} sample {sample}"
        for job in jobs(kernel)
        for sample in range(len(job.expected))
        if not np.array_equal(job.expected[sample], runtime.run(job, sample))
    ]

    assert [] == differing


@pytest.mark.parametrize("kernel", rows(), ids=str)
def test_every_row_meets_cases(kernel: Kernel):
    """A row without a case would pass untested."""
    assert next(jobs(kernel), None) is not None


@pytest.mark.parametrize("kernel", host_rows(), ids=str)
def test_the_output_may_replace_the_inputs_that_the_op_names(runtime, kernel: Kernel):
    """The memory plan overlays these buffers: a kernel that reads too late would corrupt data."""
    for job in map(overwriting, jobs(kernel)):
        for position in job.node.op.overwrites(job.node.params):
            if job.input_types[position].bytes == job.output_type.bytes:
                np.testing.assert_array_equal(
                    job.expected[0], runtime.run(job, 0, in_place=position), err_msg=str(job)
                )


def overwriting(job: Job) -> Job:
    """The same with parameters of a kernel that takes its input's place, if it can."""
    node, kernel = job.node, job.kernel
    params = node.op.with_kernel(node.params, kernel.family, kernel.isa)
    params = node.op.overwriting(params, kernel.family, kernel.isa)
    return replace(job, graph=job.graph.with_nodes((replace(node, params=params),)))


@pytest.mark.parametrize(
    ("family", "isa"),
    [
        ("conv2d", "dsp"),
        ("conv2d_1x1", "dsp"),
        ("conv2d", "swar"),
        ("conv2d_sparse", "dsp"),
        ("dwconv2d_3x3", "dsp"),
        ("dwconv2d", "swar"),
    ],
)
def test_kernels_that_gather_first_overwrite_their_input(family: str, isa: str):
    """[conv2d-C11] [dwconv2d-C10] saves half of the arena: it must be tried above, with rows."""
    kernel = next(k for k in host_rows() if (k.family, k.isa) == (family, isa))
    tried = [
        job
        for job in map(overwriting, jobs(kernel))
        if job.node.op.overwrites(job.node.params)
        and job.input_types[0].bytes == job.output_type.bytes
        and job.output_type.shape[0] > 2
    ]
    assert tried


def test_every_source_file_serves_a_row():
    """A file that no row names or includes is linked by nothing and tested by nothing."""
    src = runtime_dir() / "src"

    assert {path.relative_to(runtime_dir()).as_posix() for path in src.rglob("*.c")} == {
        path for path in needed(rows(), slides=True) if path.endswith(".c")
    }


def test_every_header_declares_the_rows_of_its_op():
    """A row in another op's section would have no prototype where generated C looks for it."""
    text = (runtime_dir() / "include" / "codeq" / "kernels.inc").read_text()
    sections = re.findall(r"#ifdef CQ_DECLARE_(\w+)\n(.*?)#endif", text, re.DOTALL)

    declared = {
        (op, family)
        for op, section in sections
        for family in re.findall(r"CQ_KERNEL(?:_W)?\(\s*(\w+)", section)
    }

    assert {(kernel.op, kernel.family) for kernel in rows()} == declared
