"""Every family scores a closed set exactly, alone or in a batch, and so do its tuned adapters."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from hier import envs
from hier.envs import Subgoal
from hier.envs.gridworld.subgoals import GridworldSubgoals
from hier.perception.gridworld.scripted_controller import ACTIONS
from hier.perception.gridworld.tracker import GridTracker
from hier.planners.language.planner import LanguagePlanner, LLMPlanner, VLMPlanner
from hier.planners.language.prompts import Prompt
from hier.planners.language.scoring import candidate_log_probs, score_naive, strategy_for
from hier.planners.language.token_tree import token_tree
from hier.planners.protocol import PlannerError, PlannerQuery, check_reply
from tests.planners.language.families import LLM, VLM, build_checkpoint

FAMILIES = (*VLM, *LLM)
TOLERANCE = 1e-4
EXTRA = [  # one answer is the beginning of another
    Subgoal("go to", "red", "ball"),
    Subgoal("go to", "red", "ball", "left"),
    Subgoal("drop"),
]


def open_planner(family, source, **options) -> LanguagePlanner:
    return (VLMPlanner if family in VLM else LLMPlanner)(str(source), **options)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    root = tmp_path_factory.mktemp("families")
    return cache(lambda family: build_checkpoint(family, root / family))


@pytest.fixture(scope="module")
def planner_of(checkpoint):
    return cache(lambda family: open_planner(family, checkpoint(family)))


@pytest.fixture(scope="module")
def queries():
    """Three questions of different lengths, with 4 to 12 candidates."""
    space, found = GridworldSubgoals(), []
    for env_id in ("BabyAI-GoToRedBallGrey-v0", "BabyAI-BossLevel-v0", "BabyAI-UnlockPickup-v0"):
        env, tracker = envs.make_env(env_id), GridTracker(1)
        observation, _ = env.reset(seed=3)
        tracker.reset({key: value[None] for key, value in observation.items()})
        percept = tracker.percept(0).snapshot()
        candidates = list(dict.fromkeys([*EXTRA, *space.candidates(percept)]))[:12]
        found.append(PlannerQuery(percept, candidates, space))
    tried = ((EXTRA[0], "failed"), (EXTRA[2], "done"))
    found[1] = PlannerQuery(found[1].percept, found[1].candidates, space, tried)
    return found


def scored(planner, queries, strategy, **options):
    prompts = [planner.prompt(query) for query in queries]
    answers = [planner.answers(query) for query in queries]
    scores = candidate_log_probs(
        planner.loaded.network, planner.encode, prompts, answers, strategy=strategy, **options
    )
    return torch.cat(scores.log_probs)


def naive(planner, queries, network=None):
    prompts = [planner.prompt(query) for query in queries]
    answers = [planner.answers(query) for query in queries]
    scores = score_naive(network or planner.loaded.network, planner.encode, prompts, answers)
    return torch.cat(scores.log_probs)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_strategy_gives_the_same_numbers(family, planner_of, queries):
    planner = planner_of(family)
    truth = naive(planner, queries)
    assert len({round(value, 3) for value in truth.tolist()}) > len(truth) // 2
    # Small chunks: expand must also be right when it splits a query's answers.
    assert torch.allclose(
        scored(planner, queries, "expand", max_rows=5), truth, rtol=0, atol=TOLERANCE
    )
    if family == "lfm2":  # convolutions mix neighbors in a row, whatever the mask
        assert (scored(planner, queries, "tree") - truth).abs().max() > 0.1
    else:
        assert torch.allclose(scored(planner, queries, "tree"), truth, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_strategy_gives_the_same_states(family, adapted, checkpoint, queries):
    planner = open_planner(family, checkpoint(family), lora=4 if adapted else None)
    prompts = [planner.prompt(query) for query in queries]
    answers = [planner.answers(query) for query in queries]
    network, encode = planner.loaded.network, planner.encode
    truth = score_naive(network, encode, prompts, answers, hidden=True)
    assert truth.states is not None and truth.hidden is not None
    for strategy in ("expand",) if family == "lfm2" else ("tree", "expand"):
        scores = candidate_log_probs(
            network, encode, prompts, answers, strategy=strategy, hidden=True, max_rows=5
        )
        torch.testing.assert_close(scores.hidden, truth.hidden, rtol=0, atol=TOLERANCE)
        for found, expected, some in zip(scores.states, truth.states, answers, strict=True):
            assert len(found) == len(some)
            torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_strategy_is_found_by_measuring(family, planner_of, queries):
    planner = planner_of(family)
    prompt, answers = planner.prompt(queries[0]), planner.answers(queries[0])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = strategy_for(planner.loaded.network, planner.encode, prompt, answers)
    assert found == ("expand" if family == "lfm2" else "tree")
    said = [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)]
    assert all("'tree' is off by" in text for text in said)
    assert bool(said) == (family == "lfm2")


def test_one_candidate_is_enough_to_measure_the_strategy(checkpoint, queries):
    planner = open_planner("lfm2", checkpoint("lfm2"))
    prompt, answers = planner.prompt(queries[0]), planner.answers(queries[0])[:1]
    with pytest.warns(RuntimeWarning, match="'tree' is off by"):
        found = strategy_for(planner.loaded.network, planner.encode, prompt, answers)
    assert found == "expand"


@pytest.mark.parametrize("family", FAMILIES)
def test_replies_are_the_models_distribution_over_the_candidates(family, planner_of, queries):
    planner = planner_of(family)
    truth = naive(planner, queries).split([len(q.candidates) for q in queries])
    for query, reply, totals in zip(queries, planner.score(queries), truth, strict=True):
        assert check_reply(reply, query, planner) is reply
        expected = torch.log_softmax(totals, 0).numpy()
        assert np.allclose(reply.log_probs, expected, rtol=0, atol=TOLERANCE)
        assert np.isnan(reply.value)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_reply_does_not_depend_on_the_batch(family, planner_of, queries, checkpoint):
    together = planner_of(family).score(queries)
    single = open_planner(family, checkpoint(family), batch_size=1, cache_size=0)
    for reply, alone in zip(together, single.score(queries[::-1])[::-1], strict=True):
        assert np.allclose(reply.log_probs, alone.log_probs, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_generate_writes_is_scored_as_generate_scores_it(family, planner_of, queries):
    # Generation with its own positions, masks and caches is an independent witness.
    planner = planner_of(family)
    planner.score(queries)  # the strategy is measured on candidates, not on what is written
    prompts = [planner.prompt(query) for query in queries]
    network, inputs = planner.loaded.network, planner.encode(prompts)
    torch.manual_seed(0)
    written = network.generate(
        **inputs, max_new_tokens=4, min_new_tokens=4, do_sample=True, top_k=0,
        return_dict_in_generate=True, output_logits=True,
    )  # fmt: skip
    tokens = written.sequences[:, inputs["input_ids"].shape[1] :]
    assert tokens.shape == (3, 4)
    logits = torch.stack(written.logits, dim=1).log_softmax(-1)
    expected = logits.gather(2, tokens[..., None]).squeeze(2).sum(1)
    answers = [[tuple(row)] for row in tokens.tolist()]
    scores = planner.candidate_scores(prompts, answers)
    assert torch.allclose(torch.cat(scores.log_probs), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_learns_and_its_reference_stays(family, checkpoint, queries, tmp_path):
    planner = open_planner(family, checkpoint(family), lora=4)
    prompts = [planner.prompt(query) for query in queries]
    answers = [planner.answers(query) for query in queries]
    before = torch.cat(planner.candidate_scores(prompts, answers).log_probs)
    assert torch.allclose(before, naive(planner, queries), rtol=0, atol=TOLERANCE)

    trainable = {name for name, p in planner.loaded.module.named_parameters() if p.requires_grad}
    assert trainable and all("lora_" in name and "vision" not in name for name in trainable)
    optimizer = torch.optim.SGD(
        [p for p in planner.loaded.module.parameters() if p.requires_grad], lr=0.5
    )
    chosen = torch.stack(
        [totals.log_softmax(0)[0] for totals in
         planner.candidate_scores(prompts, answers, grad=True).log_probs]
    )  # fmt: skip
    for _ in range(2):  # an adapter's second factor starts at zero, so the first step moves it only
        (-chosen.mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
        after = planner.candidate_scores(prompts, answers, grad=True).log_probs
        chosen = torch.stack([totals.log_softmax(0)[0] for totals in after])
    after = torch.cat([totals.detach() for totals in after])
    assert (after - before).abs().max() > 0.01
    with planner.loaded.reference() as network:
        again = planner.candidate_scores(prompts, answers, network=network).log_probs
        assert torch.allclose(torch.cat(again), before, rtol=0, atol=1e-6)
    assert torch.allclose(naive(planner, queries), after, rtol=0, atol=TOLERANCE)

    planner.weights_changed()
    planner.save(tmp_path / "adapter")
    loaded = open_planner(family, tmp_path / "adapter")
    assert loaded.version == 1
    scores = loaded.candidate_scores(prompts, answers).log_probs
    assert torch.allclose(torch.cat(scores), after, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_and_loaded_it_scores_the_same(family, planner_of, queries, tmp_path):
    planner = planner_of(family)
    planner.save(tmp_path / "saved", "Made by a test.")
    again = open_planner(family, tmp_path / "saved")
    for reply, same in zip(planner.score(queries), again.score(queries), strict=True):
        assert np.allclose(reply.log_probs, same.log_probs, rtol=0, atol=1e-6)
    card = (tmp_path / "saved" / "README.md").read_text()
    assert "Made by a test." in card and family in card
    assert not list((tmp_path / "saved").glob("*.bin"))


@pytest.mark.parametrize("family", ["llava", "llama"])
def test_gradients_are_those_of_the_full_forward_pass(family, checkpoint, queries):
    planner = open_planner(family, checkpoint(family))
    prompts = [planner.prompt(query) for query in queries]
    answers = [planner.answers(query) for query in queries]
    network, gradients = planner.loaded.network, []
    for score in (candidate_log_probs, score_naive):
        network.zero_grad()
        scores = score(network, planner.encode, prompts, answers, grad=True)
        sum(totals.log_softmax(0)[0] for totals in scores.log_probs).backward()
        gradients.append([p.grad.clone() for p in network.parameters() if p.grad is not None])
    assert len(gradients[0]) == len(gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_a_model_of_equal_tokens_scores_each_answer_by_its_length(checkpoint, queries):
    planner = open_planner("llama", checkpoint("llama"))
    with torch.no_grad():
        planner.loaded.network.lm_head.weight.zero_()
    prompts, answers = [planner.prompt(queries[0])], [planner.answers(queries[0])]
    scores = planner.candidate_scores(prompts, answers).log_probs[0]
    vocabulary = planner.loaded.network.config.vocab_size
    expected = [-len(answer) * np.log(vocabulary) for answer in answers[0]]
    assert np.allclose(scores.numpy(), expected, atol=1e-4)


def test_a_token_tree_computes_each_shared_prefix_once():
    # 1 2 3 E, 1 2 4 E, 1 2 E and 5 E, where E = 0: fed are 1, 2, 3, 4 and 5, predicted all.
    tree = token_tree(((1, 2, 3, 0), (1, 2, 4, 0), (1, 2, 0), (5, 0)))
    assert tree.fed.tolist() == [1, 2, 3, 4, 5]
    assert tree.behind.tolist() == [1, 2, 3, 3, 1]
    assert tree.sees.astype(int).tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 0, 1, 0],
        [0, 0, 0, 0, 1],
    ]
    parents = {int(t): int(s) for s, t in zip(tree.source, tree.token, strict=True) if t}
    assert parents == {1: 0, 2: 1, 3: 2, 4: 2, 5: 0}
    assert sorted(tree.source[tree.token == 0].tolist()) == [2, 3, 4, 5]
    assert np.bincount(tree.steps[0]).tolist() == [4, 4, 3, 2]
    assert (tree.n_answers, tree.depth) == (4, 4)


def test_a_cache_that_lies_is_noticed(checkpoint, queries, monkeypatch):
    planner = open_planner("llama", checkpoint("llama"))
    network = planner.loaded.network
    honest = type(network).forward

    def forward(self, *args, past_key_values=None, **kwargs):
        outputs = honest(self, *args, past_key_values=past_key_values, **kwargs)
        if past_key_values is not None:
            outputs.logits = outputs.logits.roll(1, -1)
        return outputs

    monkeypatch.setattr(type(network), "forward", forward)
    truth = naive(planner, queries)
    with pytest.warns(RuntimeWarning, match=r"LlamaForCausalLM scores candidates by 'plain'.*off"):
        replies = planner.score(queries)
    for reply, totals in zip(
        replies, truth.split([len(q.candidates) for q in queries]), strict=True
    ):
        assert np.allclose(reply.log_probs, totals.log_softmax(0).numpy(), atol=TOLERANCE)


def test_a_window_shorter_than_the_prompt_is_respected(planner_of, queries):
    # The tiny Aya sees 64 tokens back in half its layers; its prompts are longer.
    planner = planner_of("aya_vision")
    config = planner.loaded.network.config.get_text_config()
    inputs = planner.encode([planner.prompt(queries[0])])
    assert "sliding_attention" in config.layer_types
    assert inputs["input_ids"].shape[1] > config.sliding_window
    assert torch.allclose(
        scored(planner, queries, "auto"), naive(planner, queries), rtol=0, atol=TOLERANCE
    )


def test_half_precision_scores_by_the_tree_and_about_the_same(checkpoint, planner_of, queries):
    planner = open_planner("llava", checkpoint("llava"), dtype="bfloat16")
    assert planner.loaded.network.dtype == torch.bfloat16
    prompt, answers = planner.prompt(queries[0]), planner.answers(queries[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert strategy_for(planner.loaded.network, planner.encode, prompt, answers) == "tree"
    exact = naive(planner_of("llava"), queries)
    assert (scored(planner, queries, "tree") - exact).abs().max() < 0.02 * exact.abs().max()


class Products(TorchDispatchMode):
    """Notes matrix products: dtypes, and the shapes of weights that were repeated per row."""

    def __init__(self):
        super().__init__()
        self.dtypes, self.repeated = set(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten.mm.default:
            self.dtypes.add(args[0].dtype)
        if func is torch.ops.aten.bmm.default:
            self.repeated.append(tuple(args[1].shape))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_frozen_weights_of_the_vocabulary_are_not_repeated(family, checkpoint, queries):
    planner = open_planner(family, checkpoint(family), lora=4)
    scored(planner, queries, "tree")
    with Products() as products:
        scored(planner, queries, "tree")
    vocabulary = planner.loaded.network.get_output_embeddings().weight.shape[0]
    assert not [shape for shape in products.repeated if vocabulary in shape]


def test_an_adapter_multiplies_in_the_precision_of_its_base(checkpoint, queries):
    half, full = (
        open_planner("llama", checkpoint("llama"), dtype=dtype, lora=4)
        for dtype in ("bfloat16", "float32")
    )
    totals = []
    for planner in (half, full):
        prompts = [planner.prompt(query) for query in queries]
        answers = [planner.answers(query) for query in queries]
        planner.candidate_scores(prompts, answers)
        with Products() as products:
            scores = planner.candidate_scores(prompts, answers, grad=True)
        assert products.dtypes == {planner.loaded.network.dtype}
        totals.append(torch.cat(scores.log_probs))
        (-totals[-1].mean()).backward()
        learned = [w for w in planner.loaded.module.parameters() if w.requires_grad]
        assert {w.grad.dtype for w in learned} == {torch.float32}  # what learns stays exact
    assert torch.allclose(*totals, rtol=0.05, atol=0.1)


def test_a_question_asked_before_is_answered_from_memory(checkpoint, queries):
    planner = open_planner("llava", checkpoint("llava"), cache_size=2)
    passes = []
    planner.loaded.network.register_forward_pre_hook(lambda *_: passes.append(1))
    first = planner.score(queries[:2])
    passes.clear()
    assert planner.score([queries[1], queries[0], queries[1]]) == [first[1], first[0], first[1]]
    assert not passes
    planner.forget_answers()
    planner.score(queries[:2])
    assert passes
    planner.score(queries[2:])  # drops the oldest
    passes.clear()
    planner.score(queries[1:2])
    assert not passes
    planner.score(queries[:1])
    assert passes


def test_another_picture_is_another_question(checkpoint, queries):
    planner = open_planner("llava", checkpoint("llava"))
    percept = queries[0].percept
    turned = PlannerQuery(
        type(percept)(**{**fields_of(percept), "heading": (percept.heading + 1) % 4}),
        queries[0].candidates,
        queries[0].space,
    )
    one, other = planner.score([queries[0], turned])
    assert not np.allclose(one.log_probs, other.log_probs, atol=1e-3)


@pytest.mark.parametrize(("family", "told"), [("llava", False), ("qwen2", True)])
def test_rejected_proposals_are_told_to_models_that_know_the_words(
    family, told, checkpoint, queries
):
    planner, first = open_planner(family, checkpoint(family)), queries[0]
    gone, *left = first.candidates
    again = replace(first, candidates=left, rejected=[(gone, -0.05)], offered=first.candidates)
    line = f"\nRejected: {gone} (advantage -0.050)"
    assert line not in planner.prompt(first).question
    assert planner.prompt(again).question.replace(line, "") == planner.prompt(first).question
    assert (line in planner.prompt(again).question) == told
    (reply,) = planner.score([again])
    assert check_reply(reply, again, planner) is reply


def fields_of(percept):
    return {name: getattr(percept, name) for name in percept.__slots__}


@pytest.mark.parametrize(("images", "shapes"), [
    ("map", [(120, 120, 3)]), ("view", [(56, 56, 3)]), ("both", [(56, 56, 3), (120, 120, 3)])
])  # fmt: skip
def test_pictures_are_the_map_the_view_or_both(images, shapes, checkpoint, queries):
    planner = open_planner("llava", checkpoint("llava"), images=images)
    prompt = planner.prompt(queries[0])
    assert [image.shape for image in prompt.images] == shapes
    assert scored(planner, queries, "auto").shape == (sum(len(q.candidates) for q in queries),)
    twice = open_planner("llava", checkpoint("llava"), images=images, scale=2)
    for image, large in zip(prompt.images, twice.prompt(queries[0]).images, strict=True):
        assert np.array_equal(large[::2, ::2], image) and np.array_equal(large[1::2, 1::2], image)


def test_temperature_sharpens_and_flattens(checkpoint, queries):
    source = checkpoint("llama")
    entropy = []
    for temperature in (0.1, 1.0, 1e6):
        reply = open_planner("llama", source, temperature=temperature).score(queries[:1])[0]
        entropy.append(-float(np.sum(np.exp(reply.log_probs) * reply.log_probs)))
    assert entropy[0] < entropy[1] < entropy[2]
    assert entropy[2] == pytest.approx(np.log(len(queries[0].candidates)), abs=1e-4)


def test_the_value_head_reads_the_prompts_last_state(checkpoint, queries, tmp_path):
    planner = open_planner("llava", checkpoint("llava"))
    head = planner.loaded.add_value_head()
    assert [reply.value for reply in planner.score(queries)] == [0.0, 0.0, 0.0]
    with torch.no_grad():
        head.weight.normal_()
        head.bias.fill_(0.5)
    planner.weights_changed()
    replies = planner.score(queries)
    for query, reply in zip(queries, replies, strict=True):
        inputs = planner.encode([planner.prompt(query)])
        with torch.no_grad():
            states = planner.loaded.network(**inputs, output_hidden_states=True).hidden_states
            assert reply.value == pytest.approx(float(head(states[-1][0, -1])), abs=1e-4)
    planner.save(tmp_path / "valued")
    again = open_planner("llava", tmp_path / "valued").score(queries)
    assert [r.value for r in again] == pytest.approx([r.value for r in replies], abs=1e-5)


def test_a_copy_is_the_reference_of_a_fully_trained_model(checkpoint, queries):
    planner = open_planner("llama", checkpoint("llama"))
    with pytest.raises(PlannerError, match=r"call keep_reference\(\)"), planner.loaded.reference():
        pass
    planner.loaded.keep_reference()
    before = naive(planner, queries)
    with torch.no_grad():
        planner.loaded.network.lm_head.weight.mul_(1.1)
    assert (naive(planner, queries) - before).abs().max() > 0.1
    with planner.loaded.reference() as network:
        assert torch.equal(naive(planner, queries, network), before)
        assert not any(p.requires_grad for p in network.parameters())


def test_text_planners_read_the_scene_and_image_planners_do_not(planner_of, queries):
    scene = queries[1].space.describe(queries[1].percept)
    told = planner_of("llama").prompt(queries[1])
    shown = planner_of("llava").prompt(queries[1])
    assert scene in told.question and not told.images
    assert scene not in shown.question and shown.images
    for prompt in (told, shown):
        assert f"Mission: {queries[1].percept.mission}" in prompt.question
        assert "go to the red ball (failed); drop (done)" in prompt.question


def test_an_answer_ends_with_the_end_of_the_turn(planner_of):
    for family in ("llava", "qwen2", "paligemma"):
        planner = planner_of(family)
        end = planner.format.tokenizer.convert_tokens_to_ids("<|im_end|>")
        short, long = (planner.format.answer_tokens(str(g)) for g in EXTRA[:2])
        assert short[-1] == long[-1] == end
        assert long[: len(short) - 1] == short[:-1] and end not in short[:-1]


def test_prompts_follow_the_chat_template(planner_of):
    text = planner_of("llava").format.text(Prompt.single("Which way?"))
    assert text == "<|im_start|>user <image>Which way?<|im_end|>\n<|im_start|>assistant "
    assert planner_of("paligemma").format.text(Prompt.single("Which way?")) == "<image>Which way?"


@pytest.mark.parametrize("family", ["llava", "llama"])
def test_actions_are_scored_as_answers_to_the_question_for_a_subgoal(family, planner_of, queries):
    planner, subgoals = planner_of(family), EXTRA
    asked = [f"Subgoal: {subgoal}\nWhich action now?" for subgoal in subgoals]
    prompts = [planner.prompt(query, ask) for query, ask in zip(queries, asked, strict=True)]
    assert all(p.question.endswith(ask) for p, ask in zip(prompts, asked, strict=True))
    answers = [[planner.format.answer_tokens(action) for action in ACTIONS]] * len(queries)
    truth = score_naive(planner.loaded.network, planner.encode, prompts, answers).log_probs
    found = planner.action_log_probs(queries, subgoals, ACTIONS)
    for log_probs, totals in zip(found, truth, strict=True):
        assert log_probs.shape == (len(ACTIONS),) and log_probs.dtype == np.float32
        assert np.allclose(log_probs, totals.log_softmax(0).numpy(), rtol=0, atol=TOLERANCE)
    other = planner.action_log_probs(queries, EXTRA[::-1], ACTIONS)
    assert not np.allclose(other[0], found[0], atol=1e-3)  # the subgoal matters


def test_actions_that_the_tokenizer_writes_alike_are_refused(planner_of, queries):
    with pytest.raises(PlannerError, match="writes some of waltz, tango alike"):
        planner_of("llava").action_log_probs(queries[:1], EXTRA[:1], ["waltz", "tango"])
