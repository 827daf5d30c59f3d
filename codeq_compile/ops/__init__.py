# SPDX-License-Identifier: Apache-2.0
"""One module per op.  They are discovered, not listed: a new file is a new op."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
