"""Demonstrations, what is made of them, and the training of a small planner."""

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from hier.envs.errors import ConfigError
from hier.envs.gridworld.cells import CODE, COLORS, Cell
from hier.envs.registry import domain_named
from hier.perception.gridworld.map_image import code_words, map_codes, map_image, paint_codes
from hier.perception.gridworld.scripted_controller import ACTIONS
from hier.planners.accuracy import calibration_error, measure_accuracy, states_of
from hier.planners.language.prompts import Prompt, PromptFormat
from hier.planners.language.scoring import candidate_log_probs
from hier.planners.play import NO_MISTAKES, Player
from hier.planners.pretraining.demonstrations import (
    collect_demonstrations,
    demonstrate,
    demonstrate_own,
    load_demonstrations,
    save_demonstrations,
)
from hier.planners.pretraining.examples import (
    TASKS,
    Examples,
    labeled_questions,
    middle,
    normalized,
)
from hier.planners.pretraining.learner import Learner
from hier.planners.pretraining.sight import MapReader
from hier.planners.pretraining.tiny_vlm import TinyVLM, build_tiny_vlm
from hier.planners.protocol import PlannerReply, uniform_over

LEVELS = ["BabyAI-UnlockPickup-v0", "BabyAI-GoToLocal-v0", "BabyAI-PutNextLocal-v0"]
WAYS = domain_named("gridworld").variations()
SIZES = TinyVLM(vision_size=16, vision_layers=1, text_size=16, text_layers=1, heads=2)


@pytest.fixture(scope="module")
def demonstrations():
    return [
        demonstration
        for level in LEVELS
        for seed in range(4)
        for demonstration in demonstrate(Player(level, variation=0.5), seed, gamma=0.97)
    ]


@pytest.fixture(scope="module")
def tiny(demonstrations):
    texts = [
        text
        for d in demonstrations
        for turn in labeled_questions(d, ACTIONS)
        for text in (turn.question, *turn.answers)
    ]
    network, processor = build_tiny_vlm([*texts, *WAYS.words], SIZES)
    return network, PromptFormat(processor, 1, "llava")


class TestDemonstrations:
    def test_they_depend_on_the_seed_alone(self):
        first, again = (
            demonstrate(Player(LEVELS[0], variation=1.0), seed, gamma=0.97) for seed in (5, 5)
        )
        player = Player(LEVELS[0], variation=1.0)
        demonstrate(player, 4, gamma=0.97)
        later = demonstrate(player, 5, gamma=0.97)
        for other in (again, later):
            assert [d.candidates for d in first] == [d.candidates for d in other]
            assert [(d.mission, d.answer, d.action) for d in first] == [
                (d.mission, d.answer, d.action) for d in other
            ]
            assert all((a.shown == b.shown).all() for a, b in zip(first, other, strict=True))

    def test_without_mistakes_and_variation_the_expert_wins(self):
        player = Player(LEVELS[0], NO_MISTAKES)
        for seed in range(10):
            found = demonstrate(player, seed, gamma=0.97)
            assert [d.pursued for d in found] == [d.answer for d in found]
            # The value is the discounted reward: it rises toward the end.
            values = [d.value for d in found]
            assert values == sorted(values) and 0.2 < values[0] < values[-1] < 1

    def test_a_planner_may_be_followed_while_the_expert_answers(self):
        class Last:
            """Names the last candidate."""

            privileged = False

            def score(self, queries):
                sizes = [len(query.candidates) for query in queries]
                return [PlannerReply(np.log(np.eye(n)[-1] + 1e-9).astype("f4")) for n in sizes]

        players = {level: Player(level, NO_MISTAKES) for level in LEVELS[:2]}
        seeds = {level: [3, 4] for level in players}
        found = demonstrate_own(players, seeds, Last(), gamma=0.97)
        assert {(d.level, d.seed) for d in found} <= {(x, s) for x in players for s in (3, 4)}
        assert {d.level for d in found} == set(players)
        assert all(d.pursued == len(d.candidates) - 1 for d in found)
        assert any(d.answer != d.pursued for d in found)

    def test_variation_changes_levels_and_missions(self):
        plain = [demonstrate(Player(LEVELS[1]), seed, gamma=0.97) for seed in range(20)]
        played = (
            demonstrate(Player(LEVELS[1], variation=1.0), seed, gamma=0.97) for seed in range(20)
        )
        varied = [found for found in played if found]  # the expert may be at a loss
        missions = {found[0].mission for found in varied}
        assert all(found[0].mission.startswith("go to") for found in plain)
        assert any("pick up" in m or "grab" in m or "take" in m for m in missions)
        assert any("then" in m or "after" in m or "once" in m or "and" in m for m in missions)

    @pytest.mark.slow
    def test_files_are_read_back_and_kept(self, tmp_path, demonstrations):
        save_demonstrations(tmp_path / "a.npz", demonstrations)
        for one, other in zip(demonstrations, load_demonstrations(tmp_path / "a.npz"), strict=True):
            assert (one.shown == other.shown).all()
            assert labeled_questions(one, ACTIONS) == labeled_questions(other, ACTIONS)
            assert one.value == other.value or np.isnan(one.value)
        played = {"episodes": 6, "seed": 0, "variation": 1.0, "gamma": 0.97, "progress": False}
        files = collect_demonstrations(tmp_path, LEVELS, **played, workers=1)
        before = files[0].stat().st_mtime_ns
        collect_demonstrations(tmp_path, LEVELS, **played, workers=1)
        assert files[0].stat().st_mtime_ns == before

    def test_a_damaged_file_is_named(self, tmp_path, demonstrations):
        save_demonstrations(tmp_path / "a.npz", demonstrations)
        (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
        with pytest.raises(ConfigError, match=r"a\.npz.*delete the file"):
            load_demonstrations(tmp_path / "a.npz")

    def test_seeds_of_evaluation_are_refused(self, tmp_path):
        with pytest.raises(ConfigError, match="kept for evaluation"):
            collect_demonstrations(
                tmp_path, LEVELS, episodes=10, seed=999_995, variation=0, gamma=0.97, progress=False
            )

    def test_the_picture_is_the_one_that_planners_are_shown(self):
        for query, *_ in Player(LEVELS[0]).play(3):
            shown = map_image(query.percept)
            stored = map_codes(query.percept, 21)
            assert (paint_codes(middle(stored, 15)) == shown).all()


class TestVariations:
    def test_symmetries_exchange_the_same_in_pictures_and_words(self):
        """The words of the changed map are the changed words of the map."""
        rng = np.random.default_rng(0)
        for query, *_ in Player("BabyAI-Open-v0").play(1):
            percept, space = query.percept, query.space
            symmetry = WAYS.symmetry(rng)
            map_ = symmetry.codes[percept.map]
            x, heading = percept.x, percept.heading
            x0, y0, x1, y1 = percept.bounds
            if symmetry.mirrored:
                map_, size = map_[:, ::-1], map_.shape[1]
                x, x0, x1 = size - 1 - x, size - 1 - x1, size - 1 - x0
                heading = (2 - heading) % 4
            changed = replace(
                percept, map=map_, x=x, heading=heading, bounds=(x0, y0, x1, y1),
                carrying=int(symmetry.codes[percept.carrying]),
            )  # fmt: skip
            scene = space.describe(percept)
            expected = re.sub(
                r"\w+", lambda word, symmetry=symmetry: symmetry.words.get(word[0], word[0]), scene
            )
            assert _phrases(space.describe(changed)) == _phrases(expected)

    def test_paraphrases_keep_what_is_asked(self):
        rng = np.random.default_rng(0)
        mission = "pick up the red ball on your left, then go to a box after you open the door"
        said = {WAYS.paraphrase(mission, rng) for _ in range(50)}
        assert len(said) > 10
        for words in said:
            assert "red ball on your left" in words and "box" in words and "door" in words


def _phrases(scene):
    return sorted(p.strip() for p in scene.replace("You remember: ", ";").split(";"))


class TestExamples:
    def test_pixels_are_those_of_the_image_processor(self, tiny):
        _, form = tiny
        query = next(Player(LEVELS[0]).play(0))[0]
        picture = map_image(query.percept)
        inputs = form.encode([Prompt.single("go", (picture,))], torch.device("cpu"), torch.float32)
        assert torch.allclose(inputs["pixel_values"], normalized(picture[None]), atol=1e-6)

    def test_the_loss_is_that_of_exact_scoring(self, tiny, demonstrations):
        """Prompt and trie in one pass give what scoring gives from prompt, cache and trie."""
        network, form = tiny
        few = [d for d in demonstrations if len(d.candidates) <= 6][:12]
        examples = Examples(few, ACTIONS, form, WAYS.maps)
        learner = _learner(network, examples, steps=1, sight_steps=0)
        network.eval()
        prompts = [
            Prompt.single(
                labeled_questions(d, ACTIONS)[0].question, (paint_codes(middle(d.shown, 15)),)
            )
            for d in few
        ]
        answers = [[form.answer_tokens(c) for c in d.candidates] for d in few]
        cpu = torch.device("cpu")
        scores = candidate_log_probs(
            network, lambda some: form.encode(some, cpu, torch.float32), prompts, answers
        ).log_probs
        expected = sorted(
            float(-s.log_softmax(0)[d.answer]) for s, d in zip(scores, few, strict=True)
        )
        batch = next(examples.batches(len(few), (1, 0, 0), np.random.default_rng(0)))
        with torch.no_grad():
            hidden = network.model(
                input_ids=batch.ids, attention_mask=batch.mask, position_ids=batch.positions,
                pixel_values=batch.pixels,
            ).last_hidden_state  # fmt: skip
            asked = hidden[torch.arange(len(few)), batch.last]
            choice, _ = learner._losses(asked, hidden[:, int(batch.last.max()) + 1 :], batch)
        assert np.allclose(sorted(choice.tolist()), expected, atol=1e-4)

    def test_symmetries_change_words_and_pictures_together(self, tiny, demonstrations):
        _, form = tiny
        rng = np.random.default_rng(0)
        symmetries = [WAYS.symmetry(rng) for _ in range(20)]
        one = [d for d in demonstrations if "blue" in d.mission or "red" in d.mission][:1]
        examples = Examples(one, ACTIONS, form, WAYS.maps, symmetries)
        texts = set()
        for _ in range(40):
            batch = next(examples.batches(1, (1, 0, 0), rng))
            texts.add(form.tokenizer.decode(batch.ids[0, : int(batch.last[0]) + 1]))
        assert len(texts) > 5

    def test_tasks_come_in_their_shares(self, tiny, demonstrations):
        _, form = tiny
        examples = Examples(demonstrations, ACTIONS, form, WAYS.maps)
        rng = np.random.default_rng(0)
        tasks = np.concatenate(
            [b.task for _ in range(20) for b in examples.batches(8, (0.5, 0.5, 0), rng)]
        )
        assert 0.4 < np.mean(tasks == TASKS.index("action")) < 0.6
        assert not (tasks == TASKS.index("scene")).any()


@pytest.mark.slow
def test_training_learns_and_goes_on_from_its_state(tiny, demonstrations):
    _, form = tiny
    examples = Examples(demonstrations, ACTIONS, form, WAYS.maps)
    rng = np.random.default_rng(0)
    batches = list(examples.batches(16, (0.7, 0.2, 0.1), rng))

    def fresh():
        network, _ = build_tiny_vlm(form.tokenizer.get_vocab(), SIZES, seed=0)
        return _learner(network, examples, steps=75, sight_steps=15)

    learner = fresh()
    seen = [learner.step(batches[i % len(batches)]) for i in range(15)]
    assert not any("loss_subgoal" in report for report in seen)
    losses = [learner.step(batches[i % len(batches)])["loss"] for i in range(30)]
    state = copy.deepcopy(learner.state_dict())
    going_on = [learner.step(batches[i % len(batches)])["loss"] for i in range(30, 60)]
    assert np.mean(going_on[-5:]) < 0.7 * np.mean(losses[:5])
    other = fresh()
    other.load_state_dict(state)
    again = [other.step(batches[i % len(batches)])["loss"] for i in range(30, 60)]
    assert np.allclose(again, going_on, atol=1e-5)


def _reader(size, network, examples):
    vocabulary = {word: i for i, word in enumerate(("door", "key", "red", "blue", "locked"))}
    return MapReader(size, 15, 5, examples.frequencies(), code_words(), vocabulary)


def _learner(network, examples, **steps):
    torch.manual_seed(0)
    reader = _reader(16, network, examples)
    return Learner(network, torch.nn.Linear(16, 1), reader, learning_rate=3e-3, **steps)


class TestSight:
    def test_the_words_for_a_cell(self):
        words = code_words()
        assert words[CODE[Cell("door", "red", "locked")]] == ("door", "red", "locked")
        assert words[CODE[Cell("ball", "blue")]] == ("ball", "blue")
        assert words[CODE[Cell("empty")]] == words[CODE[Cell("wall", "grey")]] == ()

    @pytest.mark.slow
    def test_the_encoder_learns_which_cells_a_patch_shows(self, tiny, demonstrations):
        _, form = tiny
        examples = Examples(demonstrations, ACTIONS, form, WAYS.maps)
        batches = list(examples.batches(16, (1, 0, 0), np.random.default_rng(0)))
        sizes = replace(SIZES, vision_size=64, text_size=64)
        network, _ = build_tiny_vlm(form.tokenizer.get_vocab(), sizes, seed=0)
        torch.manual_seed(0)
        reader = _reader(64, network, examples)
        learner = Learner(
            network, torch.nn.Linear(64, 1), reader, steps=151, sight_steps=150, learning_rate=5e-3
        )
        losses = [learner.step(batches[i % len(batches)])["loss_sight"] for i in range(150)]
        assert losses[-1] < 0.5 * losses[0]

    def test_labels_are_those_of_the_tokens_own_patch(self):
        """Tokens that spell out their cells are read without error; exchanged ones are not."""
        codes = torch.randint(4, (2, 15, 15)) * (torch.rand(2, 15, 15) < 0.1)
        patches = codes.reshape(2, 5, 3, 5, 3).transpose(2, 3).reshape(2, 25, 9)
        names = [(), ("red",), ("door", "red"), ("door",)]
        vocabulary = {"red": 1, "door": 0}
        reader = MapReader(38, 15, 5, np.full(4, 0.25), names, vocabulary)
        words = torch.stack([(patches >= 2).any(dim=2), ((patches == 1) | (patches == 2)).any(2)])
        cells = torch.nn.functional.one_hot(patches, 4).flatten(2).float()
        seen = torch.cat([cells, 30 * words.permute(1, 2, 0).float()], dim=-1)
        embeddings = torch.eye(38)[36:]
        with torch.no_grad():
            reader.linear.weight[:, :36] = 50 * torch.eye(36)
            reader.linear.weight[:, 36:] = 0
            reader.linear.bias.zero_()
            reader.scale.fill_(100)
            reader.offset.fill_(-30)
            assert reader.loss(seen, codes, embeddings).item() < 1e-4
            assert reader.loss(seen.roll(1, dims=1), codes, embeddings).item() > 1
            assert reader.loss(seen, codes, embeddings.flip(0)).item() > 0.1

    def test_frequencies_are_those_under_all_symmetries(self, tiny, demonstrations):
        _, form = tiny
        rng = np.random.default_rng(0)
        symmetries = [WAYS.symmetry(rng) for _ in range(500)]
        found = Examples(demonstrations, ACTIONS, form, WAYS.maps, symmetries).frequencies()
        assert found.sum() == pytest.approx(1)
        doors = [CODE[Cell("door", color, "locked")] for color in COLORS]
        assert found[doors].std() < 0.2 * found[doors].mean()


class TestAccuracy:
    def test_states_do_not_depend_on_the_planner(self):
        queries, answers = states_of(LEVELS[0], 12, 3_000_000)
        again, _ = states_of(LEVELS[0], 12, 3_000_000)
        assert len(queries) == 12 == len(answers)
        for one, other in zip(queries, again, strict=True):
            assert (one.percept.map == other.percept.map).all()

    def test_chance_gets_its_share(self):
        class Uniform:
            privileged, version = False, 0

            def score(self, queries):
                return [uniform_over(len(query.candidates)) for query in queries]

        queries, answers = states_of(LEVELS[0], 40, 3_000_000)
        found = measure_accuracy(Uniform(), LEVELS[:1], 40, first_seed=3_000_000).levels[0]
        assert found.probability == pytest.approx(np.mean([1 / len(q.candidates) for q in queries]))
        assert found.accuracy == pytest.approx(np.mean([a == 0 for a in answers]))

    def test_calibration_compares_confidence_with_accuracy(self):
        sure_and_right_half_the_time = np.array([[1.0, 1], [1, 0]])
        half_sure_and_right_half_the_time = np.array([[0.5, 1], [0.5, 0]])
        assert calibration_error(sure_and_right_half_the_time) == 0.5
        assert calibration_error(half_sure_and_right_half_the_time) == 0
        both = np.concatenate([sure_and_right_half_the_time, half_sure_and_right_half_the_time])
        assert calibration_error(both) == 0.25
