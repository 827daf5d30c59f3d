# SPDX-License-Identifier: Apache-2.0
"""Bit operations of quantized models relative to float, true and as papers count them.

python tests/bench/bops.py MODEL.cq…
"""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

import codeq_compile
from codeq_train.bops import FLOAT_BITS, graph_ops, relative_bops

INT8 = 8


def main() -> None:
    table = Table("model", "weights", "zeros", "bits, mean", "BOPs, int8", "as papers count, float")
    for path in map(Path, sys.argv[1:]):
        layers = graph_ops(codeq_compile.load(path))
        weights = sum(layer.weights for layer in layers)
        dense = sum(layer.weights * layer.density for layer in layers)
        bits = sum(layer.weights * layer.bits for layer in layers)
        table.add_row(
            str(path),
            str(weights),
            f"{1 - dense / weights:.1%}",
            f"{bits / weights:.2f}",
            f"{relative_bops(layers, activation_bits=INT8):.2%}",
            f"{relative_bops(layers, activation_bits=FLOAT_BITS):.2%}",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
