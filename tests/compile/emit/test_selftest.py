# SPDX-License-Identifier: Apache-2.0
"""The vectors of the self-test are samples and what the simulation makes of them."""

import hashlib

import numpy as np

from codeq_compile.emit.c import Model
from codeq_compile.emit.selftest import SAMPLES, vectors
from codeq_compile.simulate import simulate
from tests.libraries import planned, small_conv


def model() -> Model:
    return Model(
        planned(small_conv()), model_sha256="0", command="-", generator="codeq", numerics=1
    )


def values(rows: list[str]) -> list[int]:
    return [int(word) for word in "".join(rows).split(",") if word.strip()]


def test_the_callers_samples_become_vectors() -> None:
    """Real recordings are a better self-test than noise."""
    described = model()
    inputs = {"x0": np.arange(3 * 90).reshape(3, 6, 5, 3).astype(np.int8)}

    made = vectors(described, inputs)

    expected = simulate(described.graph, inputs)["head.out"]
    assert inputs["x0"].reshape(3, -1).tolist() == [values(each["x0"]) for each in made]
    assert expected.tolist() == [values(each["head_out"]) for each in made]


def test_vectors_without_samples_are_the_same_on_every_machine() -> None:
    """Same input, same bytes: also with another version of numpy."""
    noise = hashlib.shake_256(b"x0").digest(SAMPLES * 90)

    made = vectors(model(), None)

    expected = [byte - 256 if byte > 127 else byte for byte in noise]
    assert expected == [value for each in made for value in values(each["x0"])]
