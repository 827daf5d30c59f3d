# SPDX-License-Identifier: Apache-2.0
"""Options tables: the numbers of the fields are those of the schema."""

import dataclasses
import re

import pytest

pytest.importorskip("tflite_micro", reason="its schema is what is compared")

from tflite_micro.tensorflow.lite.micro.python import schema_py_generated as generated

from codeq_compile.frontends.tflite import options, schema
from tests.tflite_author import File

# Where codeq has another word than the schema.
WORDS = {
    "activation": "FusedActivationFunction",
    "filter_w": "FilterWidth",
    "filter_h": "FilterHeight",
    "dilation_w": "DilationWFactor",
    "dilation_h": "DilationHFactor",
}
TABLES = {"ActivationOptions": "MulOptions", "ResizeOptions": "ResizeNearestNeighborOptions"}
KINDS = [
    kind
    for kind in vars(options).values()
    if dataclasses.is_dataclass(kind) and isinstance(kind, type)
]


def attribute(field: str) -> str:
    """Name of a field in the generated schema, with a small first letter."""
    word = WORDS.get(field) or "".join(part.title() for part in field.split("_"))
    return word[0].lower() + word[1:]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_field_is_read_from_its_place(kind: type) -> None:
    """A stride that is read as a filter size gives a model of another shape, silently."""
    name = TABLES.get(kind.__name__, kind.__name__)
    table = getattr(generated, f"{name}T")()
    known = {re.sub("_", "", key).lower(): key for key in vars(table)}
    written = {}
    for number, field in enumerate(dataclasses.fields(kind)):
        key = known[attribute(field.name).lower()]
        code = field.metadata["code"]
        written[field.name] = {"f": 0.5, "?": True}.get(code, number + 1)
        setattr(table, key, written[field.name])
    file = File()
    x, y = (file.tensor((1, 4), scale=0.5) for _ in range(2))
    file.operator("RELU", [x], [y], name, **vars(table))

    (operator,) = schema.read(file.bytes([x], [y])).operators

    assert written == dataclasses.asdict(options.read(kind, operator.options))


def test_an_operator_without_options_has_the_defaults() -> None:
    """Old files leave out tables in which nothing is set."""
    assert 1 == options.read(options.Conv2DOptions, None).dilation_h
