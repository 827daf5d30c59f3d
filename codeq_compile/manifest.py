# SPDX-License-Identifier: Apache-2.0
"""`manifest.json`: what an emitted library says of itself; emit writes it, build and check read."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from codeq_compile.errors import InputError
from codeq_compile.ir.serial import write_whole
from codeq_compile.ir.types import DType

FORMAT_VERSION = 1

_AGAIN = "compile the model again, into another folder or once this one is deleted"
FILE_NAME = "manifest.json"


class TensorEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An input or output of the library.

    Parameters
    ----------
    name : str
        The model's own tensor name.
    identifier : str
        Its parameter of ``<name>_run``, or ``<name>_<identifier>_in(arena)``.
    dtype : DType
    shape : tuple of int
    bytes : int
    scale : float, optional
    zero_point : int, optional
        Absent for plain integers.
    arena_offset : int, optional
        Of its bytes in the arena; absent for a buffer of the caller.
    """

    name: str
    identifier: str
    dtype: DType
    shape: tuple[int, ...]
    bytes: int
    scale: float | None
    zero_point: int | None
    arena_offset: int | None = None


class LayerEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A call of ``<name>_run``.

    Parameters
    ----------
    index : int
        Number in the C files, the first argument of ``CQ_TRACE``.
    name : str
        The model's own layer name.
    op : str
    tensor : str
        Name of the tensor that it writes.
    bytes : int
        Of that tensor.
    kernel : str
        The function that is called.
    packing : str, optional
        For layers with weights.
    """

    index: int
    name: str
    op: str
    tensor: str
    bytes: int
    kernel: str
    packing: str | None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Contents of `manifest.json`.

    Parameters
    ----------
    format : int
    generator : str
        ``"codeq <version>"``.
    runtime_abi, numerics : int
        Versions of the C interface and of docs/NUMERICS.md.
    name : str
        Prefix of every symbol, stem of every file.
    model : str
        The `.cq` file, relative to the folder.
    model_sha256 : str
        Digest of its content.
    target, command : str
        As in the banner.
    arena_bytes, state_bytes : int
    inputs, outputs : tuple of TensorEntry
        In the order of ``<name>_run``.
    layers : tuple of LayerEntry
        In order of execution.
    sources : tuple of str
        C files of the library, relative to the folder; the self-test is not among them.
    include : tuple of str
        Folders for ``-I``, relative to the folder.
    flow : str
        The passes that made the layers from the model: a key of `passes.FLOWS`.
    placement : dict of str to str
        Memory of the target by part, where `--place` named one.
    files : dict of str to str
        sha256 of every other file, by path relative to the folder.
    calls : tuple of int
        Numbers of the layers in the order of their calls, where some are called several times with
        some rows each; empty where each is called once, in order.
    """

    format: int
    generator: str
    runtime_abi: int
    numerics: int
    name: str
    model: str
    model_sha256: str
    target: str
    command: str
    arena_bytes: int
    state_bytes: int
    inputs: tuple[TensorEntry, ...]
    outputs: tuple[TensorEntry, ...]
    layers: tuple[LayerEntry, ...]
    sources: tuple[str, ...]
    include: tuple[str, ...]
    files: dict[str, str]
    placement: dict[str, str] = {}
    flow: str = "native"
    calls: tuple[int, ...] = ()

    @property
    def order(self) -> tuple[int, ...]:
        """Numbers of the layers in the order of their calls."""
        return self.calls or tuple(layer.index for layer in self.layers)

    @property
    def input_bytes(self) -> int:
        """Bytes of all inputs of one sample."""
        return sum(tensor.bytes for tensor in self.inputs)

    @property
    def output_bytes(self) -> int:
        """Bytes of all outputs of one sample."""
        return sum(tensor.bytes for tensor in self.outputs)

    @property
    def trace_bytes(self) -> int:
        """Bytes of all layers of one sample."""
        return sum(layer.bytes for layer in self.layers)

    def changed(self, directory: Path) -> tuple[str, ...]:
        """Files of `directory` that are missing or differ from what was emitted, sorted."""
        return tuple(
            path
            for path, digest in sorted(self.files.items())
            if _sha256(directory / path) != digest
        )


def write(manifest: Manifest, directory: Path) -> None:
    """Write ``directory/manifest.json``; the same manifest gives the same bytes."""
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    write_whole(text + b"\n", directory / FILE_NAME)


def model_file(path: Path) -> Path:
    """The path of a model file; of an emitted library, that of its model.

    Raises
    ------
    InputError
        It is a folder, and not an emitted library.
    """
    return path / read(path).model if path.is_dir() else path


def read(directory: Path) -> Manifest:
    """The manifest of an emitted library.

    Raises
    ------
    InputError
        `directory` is not an emitted library, or one of another version.
    """
    path = directory / FILE_NAME
    try:
        text = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{directory} is not an emitted library: {FILE_NAME}: {error.strerror}"
        ) from error
    try:
        manifest = msgspec.json.decode(text, type=Manifest)
    except msgspec.DecodeError as error:
        raise InputError(f"{path} is damaged or of another version: {error}; {_AGAIN}") from error
    if manifest.format != FORMAT_VERSION:
        raise InputError(
            f"{path} has format {manifest.format}; this codeq reads {FORMAT_VERSION}: {_AGAIN}"
        )
    _check_paths(path, manifest)
    if not {*manifest.order} <= {*range(1, len(manifest.layers) + 1)}:
        raise InputError(f"{path} names layers that it does not describe: {_AGAIN}")
    return manifest


def digests(directory: Path) -> dict[str, str]:
    """sha256 of every file below `directory` but the manifest, by relative path, sorted."""
    return {path: _sha256(directory / path) for path in sorted(_files(directory))}


def _files(directory: Path) -> Iterator[str]:
    for path in directory.rglob("*"):
        relative = path.relative_to(directory).as_posix()
        if path.is_file() and relative != FILE_NAME:
            yield relative


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _check_paths(path: Path, manifest: Manifest) -> None:
    """A manifest names files of its own folder only, whoever wrote it."""
    for name in (manifest.model, *manifest.sources, *manifest.include, *manifest.files):
        parts = Path(name)
        if parts.is_absolute() or ".." in parts.parts:
            raise InputError(f"{path} names {name}, which is outside its folder: {_AGAIN}")
