# SPDX-License-Identifier: Apache-2.0
"""Fenced blocks of Markdown pages."""

import re
from pathlib import Path


def fences(page: Path, language: str) -> list[str]:
    """Contents of every block of a language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(pattern, page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
