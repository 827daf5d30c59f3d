# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of training: written atomically, read without executing code, refused if foreign."""

import os
import pickle
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from codeq_compile.errors import InputError

FORMAT = 1

State = dict[str, Any]
"""Nested dicts, lists and tuples of tensors, numbers and strings: nothing else can be loaded."""


def save(path: Path, state: State) -> None:
    """Write `state` so that a kill at any moment leaves the old checkpoint or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: Path) -> State:
    """The state in `path`, of whatever run.

    Raises
    ------
    InputError
        The file is no checkpoint.
    """
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        message = f"{path} is no checkpoint that can be read: {error.strerror or error}"
        raise InputError(message) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        # torch's own reason is a page of advice to run what the file holds
        raise InputError(
            f"{path} is no checkpoint (damaged?): give another file, or remove it and start anew"
        ) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of this version of codeq")
    return state


def load(path: Path, settings: Mapping[str, object]) -> State:
    """The state in `path`, if it is of a run with the same `settings`.

    Raises
    ------
    InputError
        The file is no checkpoint, or one of other settings: the message says which.
    """
    state = read(path)
    differing = _differences(state["settings"], settings)
    if differing:
        raise InputError(
            f"{path} is of a run with other settings: {'; '.join(differing)}. Give the settings "
            "of that run, another folder, or start anew without resuming"
        )
    return state


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    names = [*now, *(name for name in before if name not in now)]
    differing = [name for name in names if before.get(name) != now.get(name)]
    # of another network everything else differs too
    return [
        f"{name} was {before.get(name, 'not set')}, is {now.get(name, 'not set')}"
        for name in (["network"] if "network" in differing else differing)
    ]


def random_state(device: torch.device) -> State:
    """State of all generators that training draws from."""
    _, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    state: State = {
        "python": random.getstate(),
        "numpy": (torch.from_numpy(np.asarray(keys, np.int64)), position, has_gauss, gauss),
        "torch": torch.get_rng_state(),
    }
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: State, device: torch.device) -> None:
    """Continue where `random_state` was taken."""
    random.setstate(state["python"])
    keys, position, has_gauss, gauss = state["numpy"]
    np.random.set_state(("MT19937", keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def copied(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of a `state_dict` that further training does not change."""
    return {name: value.detach().clone() for name, value in state.items()}
