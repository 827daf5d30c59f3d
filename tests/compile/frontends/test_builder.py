# SPDX-License-Identifier: Apache-2.0
"""What frontends share: files that are no models, names, and views of tensors."""

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from codeq_compile.errors import ModelError
from codeq_compile.frontends import builder
from codeq_compile.frontends.builder import Builder, Refusal
from tests.graphs import s8
from tests.libraries import small_conv


def test_a_file_that_is_missing_or_too_large_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path with a mistake in it, or a dump of a disk, must not end in a traceback."""
    monkeypatch.setattr(builder, "MAX_FILE_BYTES", 3)
    (tmp_path / "large").write_bytes(b"1234")

    with pytest.raises(ModelError, match="larger than 3 bytes"):
        builder.read_bytes(tmp_path / "large")
    with pytest.raises(ModelError, match="cannot be read"):
        builder.read_bytes(tmp_path / "missing")


def test_a_graph_remembers_its_file(tmp_path: Path) -> None:
    """Name and hash of what was given lead back from a library to its source."""
    (tmp_path / "net.tflite").write_bytes(b"abc")
    graph = replace(small_conv(), provenance={"format": "tflite"})

    facts = builder.sourced(graph, tmp_path / "net.tflite").provenance

    assert ("tflite", "net.tflite") == (facts["format"], facts["file"])
    assert sha256(b"abc").hexdigest() == facts["sha256"]


@pytest.mark.parametrize(
    ("file", "name"), [("Net-2.onnx", "net_2"), ("3d.onnx", "m_3d"), ("_.onnx", "model")]
)
def test_a_models_name_is_a_c_identifier(file: str, name: str) -> None:
    """It is the prefix of every symbol in the library."""
    assert name == builder.graph_name(Path(file))


def test_names_are_unique() -> None:
    """Two tensors of one name would be one buffer."""
    graph = Builder()

    names = [graph.add_tensor(name, s8(4)) for name in ("a", "a", "a_2", "a")]

    assert len(names) == len(set(names))
    assert "a" == names[0]


def test_a_view_of_a_constant_is_the_constant_itself() -> None:
    """A reshape of what stands in flash would copy it."""
    graph = Builder(constants={"c": np.arange(6, dtype=np.int8)}, tensors={"c": s8(6)})

    name = graph.view("c", (2, 3))

    assert ("c", (2, 3), []) == (name, graph.constants["c"].shape, graph.nodes)


def test_a_view_keeps_the_elements() -> None:
    """Another number of them is no view."""
    graph = Builder()
    x = graph.add_tensor("x", s8(6))

    assert "x" == graph.view(x, (6,))
    assert s8(2, 3) == graph.tensors[graph.view(x, (2, 3))]
    with pytest.raises(Refusal, match="cannot be read as"):
        graph.view(x, (7,))
