# SPDX-License-Identifier: Apache-2.0
"""From the user's module to layers: `torch.export`, then one function an ATen operation.

Everything that cannot be converted is collected and told at once, with the layer, the operation,
the source line and what to use instead.
"""

import importlib
import pkgutil

from torch import Tensor, nn

from codeq_train.capture.state import Capture, Captured
from codeq_train.capture.trace import trace

# handlers are discovered, not listed: a new file is enough
for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["Captured", "capture"]


def capture(model: nn.Module, example: tuple[Tensor, ...]) -> Captured:
    """Layers of `model`, which is not touched.

    Parameters
    ----------
    model : nn.Module
        Float model.
    example : tuple of float tensors of shape (batch, ...)
        One tensor an argument of `model.forward`.

    Raises
    ------
    UnsupportedOp
        All parts that have no integer form, at once.
    ModelError
        torch cannot trace the model (control flow that depends on data, for example).
    """
    return Capture(trace(model, example)).run()
