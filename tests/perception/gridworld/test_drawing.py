from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace

import imageio.v2 as imageio
import numpy as np
import pytest
from PIL import Image

from hier import envs
from hier.envs import Scene, Subgoal, UserError, batched
from hier.envs.gridworld.percept import GridPercept
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.perception.gridworld.drawing import draw_scene
from hier.perception.gridworld.panels import SIDE, first_person, memory_map
from hier.perception.gridworld.tracker import GridTracker
from hier.perception.scene_card import ACCENT, MAX_ROWS
from hier.perception.video import gif_bytes, write_gif, write_mp4

SPACE = GridworldSubgoals()
LEVELS = ("BabyAI-UnlockPickup-v0", "BabyAI-BossLevel-v0", "BabyAI-KeyCorridorS3R3-v0")
RIGHT, FORWARD, TOGGLE = 1, 2, 5


def play(env_id: str, steps: int, seed: int = 5) -> Iterator[tuple[GridPercept, np.ndarray]]:
    """Percepts (copies) and top-down pictures of a random walk."""
    env, tracker = envs.make_env(env_id), GridTracker(1)
    rng = np.random.default_rng(seed)
    observation, _ = env.reset(seed=seed)
    tracker.reset(batched(observation))
    yield tracker.percept(0).snapshot(), env.render()
    for _ in range(steps):
        action = int(rng.choice([RIGHT, FORWARD, FORWARD, TOGGLE]))
        observation, *_ = env.step(action)
        tracker.update(batched(observation))
        yield tracker.percept(0).snapshot(), env.render()


def first_percept(env_id: str = LEVELS[0], seed: int = 5) -> GridPercept:
    return next(play(env_id, 0, seed))[0]


def uniform(n: int) -> np.ndarray:
    return np.full(n, -np.log(n), np.float32)


def accented(picture: Image.Image) -> np.ndarray:
    """Which pixels have the accent color exactly."""
    return (np.asarray(picture) == ACCENT).all(axis=2)


def changed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (first != second).any(axis=2)


@pytest.fixture(scope="module")
def episode() -> list[np.ndarray]:
    """Frames of a walk; captions differ, so no two are equal."""
    return [
        draw_scene(Scene(percept, SPACE.candidates(percept)[0], caption=f"step {k}", level=level))
        for k, (percept, level) in enumerate(play(LEVELS[0], 7))
    ]


@pytest.mark.parametrize("env_id", LEVELS)
def test_frames_of_an_episode_have_one_even_size(env_id: str) -> None:
    shapes, maps = set(), set()
    for k, (percept, level) in enumerate(play(env_id, 25)):
        candidates = SPACE.candidates(percept)
        subgoal = candidates[k % len(candidates)]
        scene = Scene(
            percept,
            subgoal,
            candidates,
            uniform(len(candidates)),
            caption=f"step {k}",
            value=0.5 if k % 2 else None,
            advantages=np.linspace(-1, 1, len(candidates)) if k % 3 else None,
            level=level,
        )
        frame = draw_scene(scene)
        assert frame.dtype == np.uint8
        shapes.add(frame.shape)
        maps.add(percept.bounds)
    assert len(maps) > 1, "the walk should discover something"
    (shape,) = shapes
    assert shape[0] % 2 == shape[1] % 2 == 0
    assert shape[2] == 3


def test_size_is_the_same_for_every_level_and_even_without_a_picture_of_it() -> None:
    with_level, without = set(), set()
    for env_id in LEVELS:
        percept, level = next(play(env_id, 0))
        with_level.add(draw_scene(Scene(percept, None, level=level)).shape)
        without.add(draw_scene(Scene(percept, None)).shape)
    assert len(with_level) == len(without) == 1
    (wide,), (narrow,) = with_level, without
    assert wide[0] == narrow[0]
    assert wide[1] == narrow[1] + SIDE + 16
    assert narrow[1] % 2 == 0


def test_targets_are_marked_around_their_cells_on_view_and_map() -> None:
    """Every target cell is ringed with the accent, and nothing far from a target is."""
    for percept, _ in play(LEVELS[0], 20):
        for subgoal in SPACE.candidates(percept):
            targets = SPACE.target_mask(percept, subgoal)
            x0, y0, x1, y1 = percept.bounds
            cell = min(40, SIDE // max(x1 - x0 + 3, y1 - y0 + 3))
            left = (SIDE - (x1 - x0 + 3) * cell) // 2
            top = (SIDE - (y1 - y0 + 3) * cell) // 2
            marks = accented(memory_map(percept, targets))
            near = np.zeros_like(marks)
            for y, x in np.argwhere(targets):
                row, column = top + (y - y0 + 1) * cell, left + (x - x0 + 1) * cell
                block = (
                    slice(max(row - 3, 0), row + cell + 3),
                    slice(max(column - 3, 0), column + cell + 3),
                )
                near[block] = True
            assert marks.any() == targets.any()
            assert not (marks & ~near).any()


def test_the_view_marks_the_cell_ahead_when_it_is_the_target() -> None:
    percept = first_percept()
    targets = np.zeros(percept.map.shape, np.bool_)
    blank = first_person(percept, targets)
    assert not accented(blank).any()
    x, y = percept.front
    targets[y, x] = True
    marks = accented(first_person(percept, targets))
    rows, columns = np.nonzero(marks)
    # The agent stands in the bottom row's middle cell, cells are 40 pixels, the line 3.
    assert (rows.min(), rows.max()) == (5 * 40 - 3, 6 * 40 + 2)
    assert (columns.min(), columns.max()) == (3 * 40 - 3, 4 * 40 + 2)
    assert not marks[5 * 40 : 6 * 40, 3 * 40 : 4 * 40].any(), "the line runs outside the cell"


@pytest.mark.parametrize("heading", range(4))
def test_the_view_follows_the_heading(heading: int) -> None:
    percept = replace(first_percept(), heading=heading)
    targets = np.zeros(percept.map.shape, np.bool_)
    x, y = percept.front
    targets[y, x] = True
    rows, columns = np.nonzero(accented(first_person(percept, targets)))
    assert (rows.mean(), columns.mean()) == pytest.approx((5.5 * 40 - 0.5, 3.5 * 40 - 0.5))


def test_a_subgoal_changes_pixels_and_none_says_so() -> None:
    percept = first_percept()
    subgoal = next(g for g in SPACE.candidates(percept) if g.verb == "go to")
    plain = draw_scene(Scene(percept, None))
    aimed = draw_scene(Scene(percept, subgoal))
    x0, _, x1, _ = percept.bounds
    assert x1 > x0
    pictures = np.s_[:, : 16 + 2 * SIDE + 16]
    assert changed(plain, aimed)[pictures].any()
    assert (aimed == ACCENT).all(axis=2)[pictures].sum() > (plain == ACCENT).all(axis=2)[
        pictures
    ].sum()


def test_bars_grow_with_probability_and_the_most_probable_is_first() -> None:
    percept = first_percept()
    candidates = [Subgoal("go to", color, "key") for color in ("red", "green", "blue")]
    even = draw_scene(Scene(percept, None, candidates, np.log([0.3, 0.3, 0.4])))
    sure = draw_scene(Scene(percept, None, candidates, np.log([0.01, 0.01, 0.98])))
    card = np.s_[:, 16 + 2 * (SIDE + 16) :]
    bars = [
        (frame[card] == (214, 222, 230)).all(axis=2).sum(axis=1).max() for frame in (even, sure)
    ]
    assert bars[1] / bars[0] == pytest.approx(0.98 / 0.4, rel=0.1)
    # Listed by probability, so the order of the candidates does not show.
    swapped = draw_scene(Scene(percept, None, candidates[::-1], np.log([0.98, 0.01, 0.01])))
    rows = np.flatnonzero(changed(sure, swapped).any(axis=1))
    assert rows.min() >= 114 + 21, "the first row must be the same"


def test_the_chosen_candidate_is_listed_however_improbable() -> None:
    percept = first_percept("BabyAI-BossLevel-v0")
    colors = ("red", "green", "blue", "purple", "yellow", "grey")
    candidates = [Subgoal("go to", c, kind) for kind in ("key", "ball", "box") for c in colors]
    assert len(candidates) > MAX_ROWS
    weights = np.arange(len(candidates), 0, -1.0)
    log_probs = np.log(weights / weights.sum())
    card = np.s_[:, 16 + 2 * (SIDE + 16) :]

    def tint(chosen: Subgoal) -> int:
        """Bottom row of the chosen candidate's background."""
        frame = draw_scene(Scene(percept, chosen, candidates, log_probs))[card]
        return int(np.flatnonzero((frame == (228, 247, 251)).all(axis=2).any(axis=1)).max())

    assert tint(candidates[0]) < tint(candidates[3]) < tint(candidates[-1])
    assert tint(candidates[-1]) == tint(candidates[MAX_ROWS - 1]), "it takes the last row"


def test_long_texts_stay_in_their_boxes() -> None:
    """The longest mission, subgoal and caption leave the margins of the picture untouched."""
    percept = first_percept()
    clause = "put the yellow ball on your left next to the purple door in front of you"
    long = replace(percept, mission=f"{clause} and {clause} , then {clause} and {clause}")
    subgoal = Subgoal("put next to", "purple", "ball", "front")
    frame = draw_scene(Scene(long, subgoal, [subgoal], uniform(1), caption="x " * 200, value=-1.5))
    plain = draw_scene(Scene(percept, None))
    assert frame.shape == plain.shape
    outside = np.ones(frame.shape[:2], np.bool_)
    outside[12:-12, 16:-17] = False
    # The gap between the pictures and the card, too.
    outside[:, 2 * (SIDE + 16) + 2 : 2 * (SIDE + 16) + 14] = True
    assert not (changed(frame, plain) & outside).any()


def test_mismatched_numbers_are_refused() -> None:
    percept = first_percept()
    candidates = SPACE.candidates(percept)
    with pytest.raises(ValueError, match="log_probs"):
        Scene(percept, None, candidates, uniform(len(candidates) + 1))
    with pytest.raises(ValueError, match="advantages"):
        Scene(percept, None, candidates, advantages=np.zeros(len(candidates) + 1))


def test_drawing_is_deterministic_and_leaves_the_percept_alone() -> None:
    percept, level = next(play(LEVELS[2], 0))
    before = percept.snapshot()
    subgoal = SPACE.candidates(percept)[0]
    first = draw_scene(Scene(percept, subgoal, level=level))
    assert (first == draw_scene(Scene(percept, subgoal, level=level))).all()
    assert (percept.frame == before.frame).all()
    assert (percept.map == before.map).all()


def test_gif_reopens_with_its_frames_and_holds_the_last(tmp_path, episode) -> None:
    path = tmp_path / "new" / "walk.gif"
    write_gif(path, episode, fps=5)
    assert path.read_bytes() == gif_bytes(episode, fps=5)
    assert [entry.name for entry in path.parent.iterdir()] == ["walk.gif"]
    with Image.open(path) as gif:
        assert gif.n_frames == len(episode)
        durations = []
        for k, frame in enumerate(episode):
            gif.seek(k)
            durations.append(gif.info["duration"])
            difference = np.abs(np.asarray(gif.convert("RGB")).astype(int) - frame)
            assert difference.mean() < 2, "colors survive the palette"
    assert durations == [200] * (len(episode) - 1) + [1000]


def test_gif_keeps_rare_colors() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[..., :] = np.arange(64, dtype=np.uint8)[:, None] * 3  # many greys
    frame[..., 1] += np.arange(64, dtype=np.uint8)[None]
    frame[10, 10] = (255, 0, 0)
    with Image.open(io.BytesIO(gif_bytes([frame], 5))) as gif:
        red, green, blue = gif.convert("RGB").getpixel((10, 10))
    assert red > 240 and green < 16 and blue < 16


def test_mp4_is_readable(tmp_path, episode) -> None:
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"an older file")
    write_mp4(path, episode, fps=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["walk.mp4"]
    with imageio.get_reader(path) as reader:
        assert reader.get_meta_data()["fps"] == 5
        frames = [reader.get_data(k) for k in range(reader.count_frames())]
    assert len(frames) == len(episode)
    assert frames[0].shape == episode[0].shape
    assert np.abs(frames[-1].astype(int) - episode[-1]).mean() < 4


def test_odd_sizes_are_made_even(tmp_path) -> None:
    path = tmp_path / "odd.mp4"
    write_mp4(path, [np.full((51, 65, 3), 90, np.uint8)] * 3, fps=5)
    with imageio.get_reader(path) as reader:
        assert reader.get_data(0).shape == (52, 66, 3)


@pytest.mark.parametrize("write", [write_gif, write_mp4])
@pytest.mark.parametrize(
    ("shapes", "fps", "complaint"),
    [
        ([], 5, "no frames"),
        ([(8, 8, 3)], 0, "fps is 0"),
        ([(8, 8, 3)], 60, "fps is 60"),
        ([(8, 8, 3), (8, 10, 3)], 5, "differ in shape"),
    ],
)
def test_what_makes_no_video_is_refused_and_leaves_no_file(
    tmp_path, write, shapes, fps, complaint
) -> None:
    frames = [np.zeros(shape, np.uint8) for shape in shapes]
    with pytest.raises(UserError, match=complaint) as caught:
        write(tmp_path / "video.gif", frames, fps)
    assert isinstance(caught.value, ValueError)
    assert not list(tmp_path.iterdir())


def test_a_failed_encoding_keeps_the_older_file(tmp_path) -> None:
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"older")
    with pytest.raises(ValueError):
        write_mp4(path, [np.zeros((8, 8, 7), np.uint8)], fps=5)  # seven channels
    assert path.read_bytes() == b"older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["walk.mp4"]
