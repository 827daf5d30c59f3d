# SPDX-License-Identifier: Apache-2.0
"""Writes the C library of a plan: sources, weights, self-test, runtime, manifest, model file."""

import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import jinja2

from codeq_compile import manifest, numerics, place
from codeq_compile.emit import runtime
from codeq_compile.emit.c import RUNTIME_ABI, Model
from codeq_compile.emit.ports import Port
from codeq_compile.emit.selftest import vectors
from codeq_compile.errors import InputError
from codeq_compile.ir import Graph, serial
from codeq_compile.ir.op import Array
from codeq_compile.manifest import LayerEntry, Manifest, TensorEntry
from codeq_compile.passes import NATIVE
from codeq_compile.place import NOWHERE, Placement
from codeq_compile.plan import Plan

__all__ = ["check_output", "emit", "generator", "staging", "write"]

REPORT = "report.json"
"""Written beside the library by `codeq_compile.report`."""

_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # C, not HTML; emit.format escapes what users choose
)


def generator() -> str:
    """``"codeq <version>"``."""
    return f"codeq {importlib.metadata.version('codeq-mcu')}"


def emit(
    plan: Plan,
    directory: Path,
    *,
    source: Graph,
    command: str,
    samples: Mapping[str, Array] | None = None,
    placement: Placement = NOWHERE,
    flow: str = NATIVE,
) -> Manifest:
    """Write the library into `directory`; what was there before stays whole until all is written.

    Parameters
    ----------
    plan : Plan
    directory : Path
        Made, or replaced if it is an emitted library or empty.
    source : Graph
        The model as the user gave it; saved as ``<name>.cq`` beside the C.
    command : str
        What made the library, for the banners; without absolute paths.
    samples : mapping of str to int array of shape (samples, *tensor shape), optional
        Vectors of the self-test, by input name; random ones by default.
    placement : Placement
        Memories of weights, arena and inner loops; flash and RAM by default.
    flow : str
        The passes that the plan's graph comes from; whoever checks the library runs them again.

    Raises
    ------
    InputError
        `directory` holds something else.
    ModelError
        The model's name cannot be a prefix of symbols.
    """
    with staging(directory) as folder:
        return write(
            plan,
            folder,
            source=source,
            command=command,
            samples=samples,
            placement=placement,
            flow=flow,
        )


@contextmanager
def staging(directory: Path) -> Iterator[Path]:
    """A new folder beside `directory` that takes its place when the block ends without an error.

    Raises
    ------
    InputError
        `directory` is not empty and not an emitted library, the current folder stands in it, or it
        cannot be written.
    """
    check_output(directory)
    directory = directory.resolve()  # "." has no parent to stage in, and a link stays a link
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    except OSError as error:
        raise InputError(f"cannot write {directory}: {error.strerror}") from error
    try:
        # mkdtemp makes it private; a library is as readable as any other folder
        folder.chmod(0o777 & ~_umask())
        yield folder
        _swap(folder, directory)
    except OSError as error:
        raise InputError(f"cannot write {directory}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_output(directory: Path) -> None:
    """Refuse early what `staging` would refuse late; nothing is written.

    Raises
    ------
    InputError
        `directory` is not empty and not an emitted library, the current folder stands in it, or a
        file is where it or a folder above it should be.
    """
    directory = directory.resolve()
    if Path.cwd().is_relative_to(directory):
        raise InputError(
            f"{directory} is replaced as a whole, and you stand in it: "
            "start codeq in another folder, or choose another output"
        )
    if directory.exists() and not _is_replaceable(directory):
        raise InputError(
            f"{directory} exists and is not an emitted library: choose another folder, or remove it"
        )
    for above in directory.parents:
        if above.is_file():
            raise InputError(f"cannot write {directory}: {above} is a file, and not a folder")


def write(
    plan: Plan,
    folder: Path,
    *,
    source: Graph,
    command: str,
    samples: Mapping[str, Array] | None = None,
    placement: Placement = NOWHERE,
    flow: str = NATIVE,
) -> Manifest:
    """Write the library into an empty folder; parameters and errors are those of `emit`."""
    digest = serial.digest(source)
    model = Model(
        plan,
        model_sha256=digest,
        command=command,
        generator=generator(),
        numerics=numerics.VERSION,
    )
    kernels = (layer.kernel for layer in plan.layers)
    runtime_files = runtime.needed(kernels, slides=plan.memory.slides)
    sources = (
        f"{model.name}.c",
        f"{model.name}_weights.c",
        *(f"runtime/{path}" for path in runtime_files if path.endswith(".c")),
    )
    texts = {
        f"{model.name}.h": _render("model.h.j2", model=model),
        f"{model.name}.c": _render("model.c.j2", model=model),
        f"{model.name}_weights.h": _render("weights.h.j2", model=model),
        f"{model.name}_weights.c": _render("weights.c.j2", model=model),
        f"{model.name}_selftest.c": _render(
            "selftest.c.j2", model=model, vectors=vectors(model, samples)
        ),
        "CMakeLists.txt": _render(
            "CMakeLists.txt.j2", model=model, sources=sources, macros=place.macros(placement)
        ),
    }
    for path, text in texts.items():
        (folder / path).write_text(text, encoding="ascii", newline="\n")
    for path, data in runtime_files.items():
        target = folder / "runtime" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    serial.save(source, folder / f"{model.name}.cq")
    described = _manifest(
        model,
        plan,
        digest=digest,
        command=command,
        sources=sources,
        folder=folder,
        placement=placement,
        flow=flow,
    )
    manifest.write(described, folder)
    return described


def _render(template: str, **values: object) -> str:
    return _TEMPLATES.get_template(template).render(**values)


def _manifest(
    model: Model,
    plan: Plan,
    *,
    digest: str,
    command: str,
    sources: tuple[str, ...],
    folder: Path,
    placement: Placement,
    flow: str,
) -> Manifest:
    return Manifest(
        format=manifest.FORMAT_VERSION,
        generator=model.generator,
        runtime_abi=RUNTIME_ABI,
        numerics=numerics.VERSION,
        name=model.name,
        model=f"{model.name}.cq",
        model_sha256=digest,
        target=plan.target.name,
        command=command,
        arena_bytes=model.arena_bytes,
        state_bytes=model.state_bytes,
        inputs=tuple(map(_tensor_entry, model.inputs)),
        outputs=tuple(map(_tensor_entry, model.outputs)),
        layers=tuple(
            LayerEntry(
                index=index,
                name=layer.node.name,
                op=layer.node.op.kind,
                tensor=layer.node.output,
                bytes=plan.graph.output_type(layer.node).bytes,
                kernel=layer.kernel.symbol,
                packing=layer.packed.packing if layer.packed else None,
            )
            for index, layer in enumerate(plan.layers, start=1)
        ),
        sources=sources,
        include=(".", "runtime/include"),
        files=manifest.digests(folder),
        placement=dict(placement),
        flow=flow,
        calls=_calls(plan),
    )


def _calls(plan: Plan) -> tuple[int, ...]:
    """Numbers of the layers in the order of their calls; none where each is called once."""
    if not plan.memory.streams:
        return ()
    numbers = {layer.node.name: layer.index for layer in plan.layers}
    streams = {each.stream.first: each.stream for each in plan.memory.streams}
    inside = {p for each in streams.values() for p in range(each.first, each.last + 1)}
    order: list[int] = []
    for position, node in enumerate(plan.graph.nodes):
        if position in streams:
            order += [numbers[call.layer] for call in streams[position].calls]
        elif position not in inside and node.name in numbers:
            order.append(numbers[node.name])
    return tuple(order)


def _tensor_entry(port: Port) -> TensorEntry:
    grid = port.type.grid
    return TensorEntry(
        name=port.tensor,
        identifier=port.identifier,
        dtype=port.type.dtype,
        shape=port.type.shape,
        bytes=port.type.bytes,
        scale=grid.scale if grid else None,
        zero_point=grid.zero_point if grid else None,
        arena_offset=port.offset,
    )


def _is_replaceable(directory: Path) -> bool:
    return directory.is_dir() and (
        (directory / manifest.FILE_NAME).is_file() or not any(directory.iterdir())
    )


def _swap(folder: Path, directory: Path) -> None:
    """Put `folder` where `directory` is; on failure the old one is put back."""
    if not directory.exists():
        folder.replace(directory)
        return
    _keep_foreign_files(directory, folder)
    aside = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        directory.replace(aside / "old")
        try:
            folder.replace(directory)
        except OSError:
            (aside / "old").replace(directory)
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _keep_foreign_files(directory: Path, folder: Path) -> None:
    """Copy what the user put beside the library; what codeq wrote is replaced or goes."""
    if not (directory / manifest.FILE_NAME).is_file():
        return
    ours = {*manifest.read(directory).files, manifest.FILE_NAME, REPORT}
    for path in directory.rglob("*"):
        relative = path.relative_to(directory)
        if path.is_file() and relative.as_posix() not in ours and not (folder / relative).exists():
            (folder / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, folder / relative)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
