# SPDX-License-Identifier: Apache-2.0
"""Variations of training samples: physical where they claim to be, and of the right sample."""

import pytest
import torch

from codeq_train.recipes import augment

LENGTH = 16


def two_recordings(seed: int = 0) -> augment.WatchWindows:
    """Two recordings of 120 samples, one all 1, one all 2; windows everywhere."""
    signal = torch.cat([torch.full((120, 6), 1.0), torch.full((120, 6), 2.0)])
    start = torch.tensor([0, 50, 104, 120, 170, 224])
    first = torch.tensor([0, 0, 0, 120, 120, 120])
    torch.manual_seed(seed)
    return augment.WatchWindows(
        signal=signal,
        length=LENGTH,
        start=start,
        first=first,
        end=first + 120,
        exercise=first // 120,
    )


def test_windows_stay_within_their_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another phase or tempo must not show a piece of another exercise."""
    monkeypatch.setattr(augment, "_TILT", 0.0)
    monkeypatch.setattr(augment, "_NOISE", 0.0)
    windows = two_recordings()
    index = torch.arange(6).repeat(200)
    acceleration = windows.draw(index)[:, :3].abs()

    expected = (1.0 + windows.exercise[index])[:, None, None].expand_as(acceleration)
    assert torch.allclose(expected, acceleration, atol=1e-6)


def test_tempo_scales_the_turn_rate_and_the_phase_moves_the_window(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same angle in less time is a faster turn."""
    for name in ("_TILT", "_NOISE"):
        monkeypatch.setattr(augment, name, 0.0)
    windows = two_recordings()
    ramp = torch.arange(240.0)[:, None].expand(-1, 6).contiguous()
    windows = augment.WatchWindows(
        signal=ramp,
        length=LENGTH,
        start=windows.start,
        first=torch.zeros(6, dtype=torch.int64),
        end=torch.full((6,), 240),
        exercise=windows.exercise,
    )
    x = windows.draw(torch.tensor([3]).repeat(500))
    tempo = (x[:, 0, -1] - x[:, 0, 0]).abs() / (LENGTH - 1)
    turn = (x[:, 4] / x[:, 1]).abs()

    assert torch.allclose(tempo[:, None].expand_as(turn), turn, rtol=1e-3)
    assert 0.85 < tempo.min() < 0.9 < 1.1 < tempo.max() < 1.17
    assert 40 < x[:, 1].mean(1).max() - x[:, 1].mean(1).min() < 70


def test_tilted_sensors_measure_vectors_of_the_same_length() -> None:
    """A rotation that stretched would be another movement, one that mirrored the other wrist."""
    torch.manual_seed(3)
    turn = augment._rotations(50)

    eye = torch.eye(3).expand(50, 3, 3)
    assert torch.allclose(eye, turn @ turn.transpose(1, 2), atol=1e-5)
    assert torch.allclose(torch.ones(50), torch.linalg.det(turn), atol=1e-5)
    assert (turn - eye).abs().max() > 0.2


def test_the_other_wrist_is_a_mirror_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn rates are axial: the components that acceleration keeps are the ones they flip."""
    for name in ("_TILT", "_NOISE", "_TEMPO", "_PHASE"):
        monkeypatch.setattr(augment, name, 0)
    windows = two_recordings()
    signs = windows.draw(torch.zeros(64, dtype=torch.int64))[:, :, 0].sign()

    as_worn, mirrored = torch.ones(6), torch.tensor([-1.0, 1, 1, 1, -1, -1])
    assert {tuple(as_worn.tolist()), tuple(mirrored.tolist())} == {
        tuple(row) for row in signs.tolist()
    }


def test_a_varied_clip_is_one_of_its_own_variants(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variant of another clip would teach a wrong class."""
    monkeypatch.setattr(augment, "_SHIFT", 0)
    torch.manual_seed(1)
    clips = torch.arange(5, dtype=torch.int8)[:, None, None].expand(5, 7, 2).contiguous()
    varied = torch.tensor([3, 1])
    variants = torch.stack([clips[varied] + 10, clips[varied] + 20])
    pool = augment.VariedClips(
        clips=clips, variants=variants, clip_of_variant=varied, scale=0.5, zero_point=2
    )
    index = torch.arange(5).repeat(100)
    drawn = pool.draw(index)

    assert (500, 1, 7, 2) == tuple(drawn.shape)
    seen: dict[int, set[float]] = {}
    for clip, value in zip(index.tolist(), (drawn[:, 0, 0, 0] / 0.5 + 2).tolist(), strict=True):
        seen.setdefault(clip, set()).add(value)
    assert {0: {0.0}, 1: {1.0, 11.0, 21.0}, 2: {2.0}, 3: {3.0, 13.0, 23.0}, 4: {4.0}} == seen


def test_clips_are_moved_whole_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    """A word spoken 20 ms later has the same spectra one frame later, and the border repeats."""
    monkeypatch.setattr(augment, "_SHIFT", 1)
    clips = torch.tensor([[[0], [1], [2], [3]]], dtype=torch.int8)
    pool = augment.VariedClips(
        clips=clips,
        variants=clips[:0][None],
        clip_of_variant=torch.zeros(0, dtype=torch.int64),
        scale=1.0,
        zero_point=0,
    )
    torch.manual_seed(4)
    drawn = pool.draw(torch.zeros(50, dtype=torch.int64))[:, 0, :, 0]

    assert {(0, 0, 1, 2), (0, 1, 2, 3), (1, 2, 3, 3)} == {
        tuple(int(v) for v in row) for row in drawn.tolist()
    }


def pictures(**options: object) -> augment.Images:
    """Sixty pictures whose every pixel tells its row and column."""
    place = 6 * torch.arange(6)[:, None] + torch.arange(6)
    pixels = (60 + place)[None, :, :, None].expand(60, 6, 6, 1).to(torch.uint8)
    return augment.Images(pixels=pixels, scale=0.5, zero_point=-20, **options)


def test_a_plain_picture_is_its_pixels_minus_128_on_the_grid() -> None:
    """What the device feeds."""
    images = pictures()

    assert torch.equal((images.pixels[..., 0] - 108.0) / 2, images.plain()[:, 0])


def test_pictures_are_moved_and_mirrored_whole() -> None:
    """Rows move together, columns together, and the border is mirrored, not wrapped."""
    torch.manual_seed(2)
    drawn = pictures(moved=2).draw(torch.arange(60))[:, 0]
    place = (drawn / 0.5 + 48).long()
    rows, columns = place // 6, place % 6

    assert (rows == rows[:, :, :1]).all()
    assert (columns == columns[:, :1]).all()
    moved = {(2, 1, 0, 1, 2, 3), (1, 0, 1, 2, 3, 4), (0, 1, 2, 3, 4, 5)}
    moved |= {(1, 2, 3, 4, 5, 4), (2, 3, 4, 5, 4, 3)}
    assert moved == {tuple(each) for each in rows[:, :, 0].tolist()}
    assert moved | {each[::-1] for each in moved} == {tuple(c) for c in columns[:, 0].tolist()}


def test_a_hole_is_a_square_of_the_mean() -> None:
    """Cutout hides a part: it must not make a picture darker or brighter."""
    torch.manual_seed(2)
    images = pictures(moved=0, mirror=False, cutout=2)
    drawn = images.draw(torch.arange(60))[:, 0]
    hidden = drawn != images.plain()[:, 0]

    assert not drawn[hidden].any()
    assert {1, 2, 4} == set(hidden.sum((1, 2)).tolist())  # some reach over the border
    assert {0, 1, 2} == set(hidden.any(1).sum(1).tolist()) | {0}


def test_gestures_rest_where_they_have_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A faster gesture needs values from before and after it: those of its ends."""
    for name in ("_TILT", "_NOISE", "_GESTURE_GAIN"):
        monkeypatch.setattr(augment, name, 0.0)
    torch.manual_seed(5)
    ramp = torch.arange(60.0).expand(1, 6, -1)
    drawn = augment.Gestures(x=ramp).draw(torch.zeros(300, dtype=torch.int64))
    middle = drawn[:, 0, 25:35].diff(dim=1)
    tempo = middle.mean(1, keepdim=True)

    assert torch.allclose(tempo.expand_as(middle), middle, atol=1e-3)
    assert 0.8 < tempo.min() < 0.85 < 1.15 < tempo.max() < 1.23
    assert torch.allclose(drawn[:, 0] * tempo, drawn[:, 3], rtol=1e-3)  # the same turn, faster
    assert drawn[:, 0].min() >= 0.0
    assert drawn[:, 0].max() <= 59.0


def test_vibrations_are_cut_anywhere_within_their_recording(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the first sample to the last, and never into the neighbour's."""
    for name in ("_VIBRATION_TEMPO", "_VIBRATION_GAIN", "_VIBRATION_NOISE"):
        monkeypatch.setattr(augment, name, 0.0)
    torch.manual_seed(6)
    first = torch.tensor([0, 30])
    vibrations = augment.Vibrations(
        signal=torch.arange(1.0, 61.0),
        length=8,
        start=first,
        first=first,
        end=first + 30,
        label=torch.tensor([0, 1]),
    )
    drawn = vibrations.draw(torch.tensor([0, 1]).repeat(400))

    assert (800, 1, 8) == tuple(drawn.shape)
    assert {-1.0, 1.0} == set(drawn.sign().flatten().tolist())  # upside down
    for i, values in enumerate((drawn[::2].abs(), drawn[1::2].abs())):
        assert 30 * i + 1 <= values.min() < 30 * i + 1.5
        assert 30 * i + 29.5 < values.max() <= 30 * i + 30


def test_vibrations_of_a_faster_shaft_are_denser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another load turns the shaft a little slower, and every frequency with it."""
    for name in ("_VIBRATION_GAIN", "_VIBRATION_NOISE"):
        monkeypatch.setattr(augment, name, 0.0)
    torch.manual_seed(6)
    zero = torch.zeros(1, dtype=torch.int64)
    vibrations = augment.Vibrations(
        signal=torch.arange(200.0), length=8, start=zero, first=zero, end=zero + 200, label=zero
    )
    tempo = vibrations.draw(zero.repeat(300)).diff(dim=2).abs()

    assert torch.allclose(tempo[..., :1].expand_as(tempo), tempo, atol=1e-3)
    assert 0.95 < tempo.min() < 0.96 < 1.04 < tempo.max() < 1.052
