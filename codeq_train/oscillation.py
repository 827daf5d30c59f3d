# SPDX-License-Identifier: Apache-2.0
"""Weights that flip between two levels to the end: found by how often they turn back, and held.

A latent weight on the boundary between two levels changes the network at every step without
learning anything, and leaves the statistics of a network behind that no longer exists.
Source: Nagel et al., arXiv:2203.11086, sections 2.2 and 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from codeq_train.config import OscillationConfig
from codeq_train.layers import Weighted
from codeq_train.model import QuantizedModel


class Oscillation:
    """Holds oscillating weights during the last phase; call `step` after the optimizer's.

    A weight turns back where its level changes in the direction opposite to its last change.  The
    moving average of that, the frequency, decides: above `threshold` the weight is held at that of
    its two levels at which it has been for longer, until the end.  Scales go on learning.

    Parameters
    ----------
    config : OscillationConfig, optional
        By default the model's own, at the first step.
    """

    def __init__(self, config: OscillationConfig | None = None) -> None:
        self.config = config
        self._tracks: dict[str, _Track] = {}

    @torch.no_grad()
    def step(self, model: QuantizedModel) -> None:
        """Follow the levels, and hold weights whose frequency is above the threshold.

        Nothing happens before `freeze(model)`, and where the configuration has no threshold.
        """
        config = self.config or model.config.oscillation
        if config.threshold is None:
            return
        for name, layer in _frozen(model):
            if name in self._tracks:
                self._tracks[name].follow(layer, config)
            else:
                self._tracks[name] = _Track.start(layer)

    @property
    def flips(self) -> float:
        """Share of all weights whose level changed in the last step, in [0, 1]."""
        return self._share("flipped")

    @property
    def held(self) -> float:
        """Share of all weights that are held, in [0, 1]."""
        return self._share("held")

    def _share(self, what: str) -> float:
        chosen: list[Tensor] = [getattr(track, what) for track in self._tracks.values()]
        return sum(int(x.sum()) for x in chosen) / max(sum(x.numel() for x in chosen), 1)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Everything that has been seen, by the names of the layers."""
        return {name: track.state() for name, track in self._tracks.items()}

    def load_state_dict(self, state: dict[str, dict[str, Tensor]]) -> None:
        """Continue from what `state_dict` gave, on whatever device it was."""
        self._tracks = {name: _Track(**tensors) for name, tensors in state.items()}


@dataclass(kw_only=True)
class _Track:
    """One layer's weights: tensors of their shape.

    `level` and `before` are the integer levels now and before the last change, `direction` its
    sign; `mean` is the moving average of the level.
    """

    level: Tensor
    before: Tensor
    direction: Tensor
    frequency: Tensor
    mean: Tensor
    flipped: Tensor
    held: Tensor

    @classmethod
    def start(cls, layer: Weighted) -> "_Track":
        level = layer.levels().values()
        none = torch.zeros_like(level, dtype=torch.bool)
        return cls(
            level=level,
            before=level.clone(),
            direction=torch.zeros_like(level),
            frequency=torch.zeros_like(level),
            mean=level.clone(),
            flipped=none,
            held=none.clone(),
        )

    def follow(self, layer: Weighted, config: OscillationConfig) -> None:
        assert config.threshold is not None
        assert layer.quantizer is not None
        self._move(layer.weight.device)
        step = layer.quantizer.step(layer.weight)
        layer.weight.copy_(torch.where(self.held, step * self.level, layer.weight))
        level = layer.levels().values()
        change = level - self.level
        self.flipped = (change != 0) & ~self.held
        turned = self.flipped & (change * self.direction < 0)
        self.frequency.lerp_(turned.to(level.dtype), config.momentum)
        self.mean.lerp_(level, config.momentum)
        self.before = torch.where(self.flipped, self.level, self.before)
        self.direction = torch.where(self.flipped, change.sign(), self.direction)
        self.level = torch.where(self.held, self.level, level)
        self._hold(turned & (self.frequency > config.threshold), layer, step)

    def _hold(self, chosen: Tensor, layer: Weighted, step: Tensor) -> None:
        stayed_before = (self.mean - self.before).abs() < (self.mean - self.level).abs()
        self.level = torch.where(chosen & stayed_before, self.before, self.level)
        layer.weight.copy_(torch.where(chosen, step * self.level, layer.weight))
        self.held |= chosen

    def _move(self, device: torch.device) -> None:
        """A checkpoint is loaded before anybody says which device training will be on."""
        for name, tensor in vars(self).items():
            setattr(self, name, tensor.to(device))

    def state(self) -> dict[str, Tensor]:
        return dict(vars(self))


def damping(model: QuantizedModel) -> Tensor:
    """Mean squared distance of weights from their levels, as a share of the top level: 0-d tensor.

    Added to the loss of the last phase, it pulls weights away from the boundaries between levels.
    Pruned weights and those beyond the top level do not count.
    """
    total, count = next(model.parameters()).new_zeros(()), 0
    for _, layer in _frozen(model):
        assert layer.quantizer is not None
        with torch.no_grad():
            levels = layer.levels()
            nearest, values = levels.dequantize(), levels.values()
            top = layer.quantizer.step(layer.weight) * values.abs().amax().clamp(min=1.0)
            inside = (values != 0) & (layer.weight.abs() <= top)
        distance = (layer.weight - nearest) / top
        total = total + torch.where(inside, distance.square(), 0.0).sum()
        count += layer.weight.numel()
    return total / max(count, 1)


def _frozen(model: QuantizedModel) -> list[tuple[str, Weighted]]:
    """Layers in the last phase whose weights learn; a shared weight once."""
    layers: dict[int, tuple[str, Weighted]] = {}
    for layer in model.weighted():
        learns = layer.quantizer is not None and layer.enabled and layer.weight.requires_grad
        if learns and layer.use_running_statistics:
            layers.setdefault(id(layer.weight), (layer.origin.name, layer))
    return list(layers.values())
