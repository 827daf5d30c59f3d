# SPDX-License-Identifier: Apache-2.0
"""What bytes cost: RAM and flash in instructions, weights in accuracy.

    python tests/bench/trades.py                     # all; writes trades.json and the pages
    python tests/bench/trades.py streams packings    # these only, where no accuracy is measured

Networks are those of tests/networks.py (`benchmark`), models those that are shared, and their data.
One random sample each where instructions are counted, always the same.
"""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

import codeq_compile
from codeq_compile import budgets, passes, target
from codeq_compile.coarsen import coarsen, compare
from codeq_compile.ir import Graph
from codeq_compile.ir.op import Array
from codeq_compile.plan import AUTO, FAST, SMALL, plan
from codeq_compile.report.collect import StreamReport
from tests import tflite_models
from tests.bench import figures, tables
from tests.bench.figures import CoarseFigure, PackingFigure, StreamFigure
from tests.bench.kernels import compiled_by, profiled
from tests.networks import benchmark

SHARED = Path(os.environ.get("CODEQ_SHARED") or Path(__file__).parents[2].parent / "shared")
BOARD = "mps2_an386"

STREAMED = {
    ("ic", "dense8"): (24_000, 40_000),
    ("ic", "sparse4"): (28_000, 40_000),
    ("kws", "dense8"): (),
    ("kws", "sparse4"): (10_500,),
    ("vww", "dense8"): (50_000,),
    ("vww", "sparse4"): (),
}
"""Networks by name and variant, with limits of RAM besides the least that there is."""

PACKED = (
    "silabs/anomaly_detection",
    "silabs/visual_wake_words",
    "mlperf_tiny/kws_ref_model",
    "tflm/micro_speech_quantized",
    "pruned/sparse_s_70",
)

KEYWORDS, IMAGES = "mlperf_tiny/kws_ref_model", "mlperf_tiny/pretrainedResnet_large_int8"
LIMITS = {
    KEYWORDS: (("20K", AUTO), ("16K", AUTO), ("14K", AUTO), ("14K", SMALL)),
    IMAGES: (("300K", AUTO), ("200K", AUTO)),
}
"""Limits of weights and tables, with the packing that has to keep them."""
CALIBRATION = {KEYWORDS: 256, IMAGES: 128}
"""Samples of the training set."""


def main() -> None:
    measures: dict[str, Callable[[], Iterator[msgspec.Struct]]] = {
        "streams": streams,
        "packings": packings,
        "coarsened": coarsened,
    }
    found = figures.trades()
    for name in sys.argv[1:] or measures:
        rows = []
        with compiled_by("gcc"):
            for row in measures[name]():
                print(row, flush=True)
                rows.append(row)
        found = msgspec.structs.replace(found, **{name: tuple(rows)})
        figures.write(found, figures.TRADES)
    tables.write_pages()


def streams() -> Iterator[StreamFigure]:
    """Each network as a whole, in as little RAM as there is, and within some limits."""
    for (network, variant), limits in STREAMED.items():
        graph = benchmark(network, variant)
        asked = [{}, {"stream": "auto"}, *({"stream": "auto", "ram": limit} for limit in limits)]
        for options in asked:
            with profiled(graph, BOARD, io="arena", **options) as (compiled, profile):
                report = compiled.report
            assert report.flash.total is not None
            assert report.flash.code is not None
            yield StreamFigure(
                network=network,
                variant=variant,
                options=" ".join(f"--{name} {value}" for name, value in options.items()),
                ram=report.ram.total,
                flash=report.flash.total,
                code=report.flash.code,
                instructions=profile.total.instructions,
                streams=list(map(_stream, report.streams)),
            )


def _stream(report: StreamReport) -> str:
    rows = f"{report.rows} row{'s' if report.rows > 1 else ''}"
    return f"l{report.first:02d}..l{report.last:02d}, {report.calls} calls of {rows}"


def packings() -> Iterator[PackingFigure]:
    """Each model on the M4 and on the M55."""
    for name in PACKED:
        graph = _model(name)
        for board in (BOARD, "mps3_an547"):
            for packing in (AUTO, FAST, SMALL):
                with profiled(graph, board, packing=packing) as (compiled, profile):
                    flash = compiled.report.flash.total
                assert flash is not None
                yield PackingFigure(
                    model=name,
                    board=board,
                    packing=packing,
                    flash=flash,
                    instructions=profile.total.instructions,
                )


def coarsened() -> Iterator[CoarseFigure]:
    """Each model as it is, and within its limits."""
    board = target.load(BOARD)
    for name, limits in LIMITS.items():
        before = _model(name)
        calibration, test, labels = _keywords() if name == KEYWORDS else _images()
        (given,) = before.inputs
        for limit, packing in [(None, AUTO), *limits]:
            after = before
            if limit is not None:
                after = coarsen(
                    before,
                    {given: calibration},
                    board,
                    weights=budgets.parse_size(limit),
                    packing=packing,
                )
            decided = plan(passes.run(after), board, packing)
            told = compare(before, after, {given: test}, labels)
            assert told.accuracy_after is not None
            yield CoarseFigure(
                model=name,
                packing=packing,
                limit=limit,
                bytes=decided.weights_bytes + decided.tables_bytes,
                samples=told.samples,
                accuracy=told.accuracy_after,
                same_answer=told.same_answer,
            )


def _model(name: str) -> Graph:
    return codeq_compile.load(tflite_models.path(SHARED, name))


def _keywords() -> tuple[Array, Array, Array]:
    """Inputs for the calibration, others, and the classes of those."""
    with np.load(SHARED / "data" / "kws" / "kws_mfcc_i8.npz") as stored:
        train = stored["x"][stored["split"] == 0]
    with np.load(SHARED / "data" / "kws" / "kws01_perf1000_i8.npz") as stored:
        test, classes = stored["x"], stored["y"]
    return _evenly(train, CALIBRATION[KEYWORDS])[..., None], test[..., None], classes


def _images() -> tuple[Array, Array, Array]:
    with np.load(SHARED / "data" / "cifar10" / "cifar10_lossless_subset.npz") as stored:
        train, test, classes = stored["x"], stored["x_test"], stored["y_test"]
    return _as_int8(_evenly(train, CALIBRATION[IMAGES])), _as_int8(test), classes


def _evenly(samples: Array, number: int) -> Array:
    return samples[:: len(samples) // number][:number]


def _as_int8(pixels: Array) -> Array:
    """On the grid of the model's input: a step is a grey level."""
    return (pixels.astype(np.int16) - 128).astype(np.int8)


if __name__ == "__main__":
    main()
