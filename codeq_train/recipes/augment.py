# SPDX-License-Identifier: Apache-2.0
"""How training samples vary: what a sensor worn, held or heard a little differently would give."""

from dataclasses import dataclass

import torch
from torch import Tensor

_PHASE = 32
"""Windows start up to this many samples earlier or later."""
_TEMPO = 0.15
"""Exercises run faster or slower by up to this much (logarithm of the ratio)."""
_TILT = 15.0
"""Standard deviation of the watch's rotation on the wrist, in degrees, about any axis."""
_NOISE = 0.05
"""Standard deviation of added sensor noise, in the network's units."""
_OTHER_WRIST = (-1.0, 1.0, 1.0, 1.0, -1.0, -1.0)
"""Mirror at the plane across the forearm: turn rates are axial vectors and flip the other way."""

_VIBRATION_TEMPO = 0.05
"""Shafts turn faster or slower by up to this much (logarithm of the ratio)."""
_VIBRATION_GAIN = 0.2
"""Vibrations are stronger or weaker by up to this much (logarithm)."""
_VIBRATION_NOISE = 0.02
"""Standard deviation of noise added to vibrations, in g."""

_GESTURE_TEMPO = 0.2
_GESTURE_SHIFT = 12
"""Gestures begin up to this many samples earlier or later."""
_GESTURE_GAIN = 0.2
"""Gestures are larger or smaller by up to this much (logarithm)."""

_SHIFT = 2
"""Spectra are moved by up to this many frames of 20 ms."""
_VARIED = 0.8
"""Share of varied clips where variants exist."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WatchWindows:
    """Windows of recordings that stand end to end.

    Parameters
    ----------
    signal : float tensor of shape (samples, 6)
        Acceleration and turn rate along x, y, z.
    length : int
        Of a window, in samples.
    start : int64 tensor of shape (windows,)
    first, end : int64 tensors of shape (windows,)
        Of the recording that the window lies in.
    exercise : int64 tensor of shape (windows,)
    """

    signal: Tensor
    length: int
    start: Tensor
    first: Tensor
    end: Tensor
    exercise: Tensor

    def plain(self) -> Tensor:
        """All windows as they are: float tensor of shape (windows, 6, length)."""
        samples = self.start[:, None] + torch.arange(self.length)
        return self.signal[samples].transpose(1, 2).contiguous()

    def draw(self, index: Tensor) -> Tensor:
        """Windows at another phase and tempo, mirrored, turned, with noise; shaped as `plain`."""
        count, half = len(index), (self.length - 1) / 2
        tempo = torch.exp(torch.empty(count, 1).uniform_(-_TEMPO, _TEMPO))
        phase = torch.randint(-_PHASE, _PHASE + 1, (count, 1))
        # the shortest recording is six windows long: there is always room
        first = self.first[index, None] + half * tempo
        last = self.end[index, None] - 1.001 - half * tempo
        centre = (self.start[index, None] + half + phase).clamp(first, last)
        position = centre + (torch.arange(self.length) - half) * tempo
        before = position.long()
        share = (position - before)[..., None]
        x = self.signal[before] * (1.0 - share) + self.signal[before + 1] * share
        x = x.transpose(1, 2).contiguous()
        x[:, 3:] *= tempo[..., None]
        mirrored = x * torch.tensor(_OTHER_WRIST)[:, None]
        x = torch.where(torch.rand(count, 1, 1) < 0.5, mirrored, x)
        return _tilted(x) + _NOISE * torch.randn_like(x)


def _tilted(x: Tensor) -> Tensor:
    """Acceleration and turn rate (count, 6, length) of a sensor that is fixed a little askew."""
    turn = _rotations(len(x))
    return torch.cat([turn @ x[:, :3], turn @ x[:, 3:]], dim=1)


def _rotations(count: int) -> Tensor:
    """Random rotation matrices of shape (count, 3, 3), by Rodrigues' formula."""
    axis = torch.nn.functional.normalize(torch.randn(count, 3), dim=1)
    angle = torch.deg2rad(_TILT * torch.randn(count))[:, None, None]
    cross = torch.linalg.cross(axis[:, None, :].expand(-1, 3, -1), torch.eye(3)[None], dim=2)
    turn: Tensor = torch.eye(3) + torch.sin(angle) * cross + (1 - torch.cos(angle)) * cross @ cross
    return turn


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gestures:
    """Short recordings of acceleration and turn rate, each of one whole movement.

    Parameters
    ----------
    x : float tensor of shape (recordings, 6, length)
    """

    x: Tensor

    def draw(self, index: Tensor) -> Tensor:
        """Gestures at another tempo, moment and size, turned, with noise; shaped as `x`."""
        count, length = len(index), self.x.shape[2]
        tempo = torch.exp(torch.empty(count, 1).uniform_(-_GESTURE_TEMPO, _GESTURE_TEMPO))
        half = (length - 1) / 2
        position = half + (torch.arange(length) - half) * tempo + _offsets(count, _GESTURE_SHIFT)
        position = position.clamp(0.0, length - 1.001)  # the wand rests before and after
        before = position.long()
        share = (position - before)[:, None]
        whole = self.x[index]
        first, second = (
            whole.gather(2, at[:, None].expand(-1, 6, -1)) for at in (before, before + 1)
        )
        x = torch.lerp(first, second, share)
        x[:, 3:] *= (tempo * _gain(count, _GESTURE_GAIN))[..., None]
        return _tilted(x) + _NOISE * torch.randn_like(x)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Vibrations:
    """Windows of steady signals of one sensor, which stand end to end.

    Parameters
    ----------
    signal : float tensor of shape (samples,)
        Acceleration in g.
    length : int
        Of a window, in samples.
    start : int64 tensor of shape (windows,)
    first, end : int64 tensors of shape (windows,)
        Of the recording that the window lies in.
    label : int64 tensor of shape (windows,)
    """

    signal: Tensor
    length: int
    start: Tensor
    first: Tensor
    end: Tensor
    label: Tensor

    def plain(self) -> Tensor:
        """All windows as they are: float tensor of shape (windows, 1, length)."""
        return self.signal[self.start[:, None] + torch.arange(self.length)][:, None]

    def draw(self, index: Tensor) -> Tensor:
        """Anywhere in the same recordings, of another speed and strength, upside down, noisy."""
        count = len(index)
        tempo = _gain(count, _VIBRATION_TEMPO)
        # the last position must have a neighbour to interpolate with
        room = (self.end - self.first)[index, None] - 1.001 - (self.length - 1) * tempo
        offset = torch.rand(count, 1) * room.clamp(min=0.0) + torch.arange(self.length) * tempo
        before = offset.long()
        position = self.first[index, None] + before
        x = torch.lerp(self.signal[position], self.signal[position + 1], offset - before)
        sign = torch.where(torch.rand(count, 1) < 0.5, -1.0, 1.0)
        x = (x * sign * _gain(count, _VIBRATION_GAIN))[:, None]
        return x + _VIBRATION_NOISE * torch.randn_like(x)


def _gain(count: int, spread: float) -> Tensor:
    """Random factors about 1, of shape (count, 1); `spread` is that of their logarithm."""
    return torch.exp(torch.empty(count, 1).uniform_(-spread, spread))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class VariedClips:
    """Spectra as int8, some of them in several variants.

    Parameters
    ----------
    clips : int8 tensor of shape (clips, frames, coefficients)
    variants : int8 tensor of shape (variants, varied clips, frames, coefficients)
    clip_of_variant : int64 tensor of shape (varied clips,)
    scale : float
    zero_point : int
        Of all of them.
    """

    clips: Tensor
    variants: Tensor
    clip_of_variant: Tensor
    scale: float
    zero_point: int

    def plain(self, index: Tensor) -> Tensor:
        """Clips as they are: float tensor of shape (len(index), 1, frames, coefficients)."""
        return self._real(self.clips[index])

    def draw(self, index: Tensor) -> Tensor:
        """Clips or their variants, moved in time: same shape as `plain`."""
        slot = torch.full((len(self.clips),), -1)
        slot[self.clip_of_variant] = torch.arange(len(self.clip_of_variant))
        place = slot[index]
        use = (place >= 0) & (torch.rand(len(index)) < _VARIED)
        variant = torch.randint(len(self.variants), (len(index),))
        codes = self.clips[index].clone()
        codes[use] = self.variants[variant[use], place[use]]
        frames = codes.shape[1]
        shift = torch.randint(-_SHIFT, _SHIFT + 1, (len(index), 1))
        source = (torch.arange(frames) - shift).clamp(0, frames - 1)
        return self._real(codes[torch.arange(len(index))[:, None], source])

    def _real(self, codes: Tensor) -> Tensor:
        return (codes.float() - self.zero_point).mul_(self.scale)[:, None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """Pictures as bytes; the network sees ``scale · (pixel - 128 - zero_point)``.

    Parameters
    ----------
    pixels : uint8 tensor of shape (images, height, width, channels)
    scale : float
    zero_point : int
        Of the int8 values ``pixel - 128``.
    moved : int
        Up to this many pixels in each direction; the border is mirrored.
    mirror : bool
        Left and right may be exchanged.
    cutout : int
        Side of a square that is blanked in each drawn image; 0 for none.  Source: DeVries and
        Taylor, arXiv:1708.04552.
    """

    pixels: Tensor
    scale: float
    zero_point: int
    moved: int = 4
    mirror: bool = True
    cutout: int = 0

    def plain(self) -> Tensor:
        """All images as they are: float tensor of shape (images, channels, height, width)."""
        return self._real(self.pixels)

    def draw(self, index: Tensor) -> Tensor:
        """Images moved, mirrored and with a hole; shaped as `plain`."""
        count, height, width = len(index), *self.pixels.shape[1:3]
        rows = _mirrored(torch.arange(height) + _offsets(count, self.moved), height)
        columns = _mirrored(torch.arange(width) + _offsets(count, self.moved), width)
        if self.mirror:
            turned = torch.rand(count, 1) < 0.5
            columns = torch.where(turned, columns.flip(1), columns)
        drawn = self.pixels[index[:, None, None], rows[:, :, None], columns[:, None, :]]
        x = self._real(drawn)
        if self.cutout:
            kept = _outside(count, height, self.cutout)[:, :, None]
            x *= (kept | _outside(count, width, self.cutout)[:, None, :])[:, None]
        return x

    def _real(self, pixels: Tensor) -> Tensor:
        # channels last in memory, which convolutions prefer
        return ((pixels.float() - (128 + self.zero_point)) * self.scale).permute(0, 3, 1, 2)


def _offsets(count: int, most: int) -> Tensor:
    """Random whole numbers from -most to most: int64 tensor of shape (count, 1)."""
    return torch.randint(-most, most + 1, (count, 1))


def _mirrored(position: Tensor, length: int) -> Tensor:
    """Positions beyond either end, reflected at the last one."""
    return length - 1 - (length - 1 - position.abs()).abs()


def _outside(count: int, length: int, side: int) -> Tensor:
    """Positions outside of a random stretch of `side`: bool tensor of shape (count, length)."""
    distance = torch.arange(length) - torch.randint(length, (count, 1))
    return (distance < -(side // 2)) | (distance >= side - side // 2)
