# SPDX-License-Identifier: Apache-2.0
"""`torch.export` of the user's model, its refusals in the user's terms."""

import contextlib
import copy
import io
import logging
import re
import warnings
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from codeq_compile.errors import ModelError, UnsupportedOp
from codeq_train.capture.nodes import INSTEAD_OF_RECURRENT


def trace(model: nn.Module, example: tuple[Tensor, ...]) -> torch.export.ExportedProgram:
    """Graph of a copy of `model` in evaluation mode, for batches of any size.

    Raises
    ------
    ModelError
        torch cannot trace it; the message names the line and the way out.
    UnsupportedOp
        Neither can it, and there are recurrent layers.
    """
    if not isinstance(model, nn.Module) or isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            f"the model is a {type(model).__name__}: give the torch.nn.Module that it is made from"
        )
    model = copy.deepcopy(model).eval()
    if any(isinstance(p, nn.parameter.UninitializedParameter) for p in model.parameters()):
        raise ModelError("the model has lazy layers without weights yet: call it once first")
    if any(p.is_floating_point() and p.dtype != torch.float32 for p in model.parameters()):
        raise ModelError("the model is not float32: convert it with model.float()")
    if not example or any(not isinstance(x, Tensor) or x.dim() < 2 for x in example):
        raise ModelError("the example must be tensors of shape (batch, ...), one an argument")
    if any(len(x) == 0 for x in example):
        raise ModelError("the example holds no samples: the ranges of activations come from it")
    # torch takes a batch of 1 for a constant of the model
    pair = tuple(torch.cat([x[:1], x[:1]]).detach() for x in example)
    batch = torch.export.Dim("batch")
    shapes = torch.export.ShapesCollection()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    for x in pair:
        shapes[x] = {0: batch}
    try:
        with torch.no_grad():
            model(*pair)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise ModelError(f"the model does not run on the example: {error}") from error
    dynamic = shapes.dynamic_shapes(model, pair)  # type: ignore[no-untyped-call]  # so is this
    try:
        with _silence():
            return torch.export.export(model, pair, dynamic_shapes=dynamic, strict=False)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        # with time in front torch complains of the batch, and nothing else is told of the layer
        if recurrent := list(_recurrent(model)):
            raise UnsupportedOp(recurrent) from error
        raise ModelError(_explain(error)) from error


def _recurrent(model: nn.Module) -> Iterator[str]:
    for name, module in model.named_modules():
        if isinstance(module, nn.RNNBase):
            kind = type(module).__name__
            yield f'layer "{name}" ({kind}): no integer form; {INSTEAD_OF_RECURRENT}'


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep torch from printing half-traced graphs: the error says it in one line."""
    nowhere = io.StringIO()
    previous = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # of torch's own insides: the error is what counts
            yield
    finally:
        logging.disable(previous)


def _explain(error: Exception) -> str:
    text = str(error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    line = re.search(r'File "([^"]+)", line (\d+), in (?:forward|\w+)\n\s+(.+)', text)
    where = f" at {line[1]}:{line[2]} ({line[3].strip()})" if line else ""
    if "data-dependent" in text.lower() or "GuardOnDataDependent" in type(error).__name__:
        return (
            f"the model's control flow depends on data{where}: a compiled model runs the same "
            "layers for every input; replace the `if` or `.item()` by arithmetic on tensors"
        )
    if "specialized" in text.lower() or "Constraints violated" in text:
        return (
            f"the model fixes the batch size{where}: use x.flatten(1) or x.reshape(x.shape[0], -1) "
            "instead of a constant"
        )
    return f"torch.export cannot trace the model{where}: {first}"
