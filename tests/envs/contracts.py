"""What every domain's subgoal space must do; a domain's tests inherit it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from hier.envs.subgoal import SubgoalSpace, SubgoalSyntaxError


class SubgoalSpaceContract:
    """Inherit, set ``space`` and ``nonsense``, and override ``percepts``.

    Attributes:
        space: the subgoal space under test.
        nonsense: texts that are no subgoals of the domain.
    """

    space: SubgoalSpace
    nonsense: Sequence[str]

    @pytest.fixture(scope="class")
    @classmethod
    def percepts(cls) -> list[Any]:
        """Percepts (snapshots) from varied play, hands full and empty."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def offers(cls, percepts) -> list[tuple[Any, list]]:
        """Each percept with its candidates."""
        return [(percept, cls.space.candidates(percept)) for percept in percepts]

    def test_there_is_always_a_candidate_and_none_twice(self, offers):
        assert offers
        for _, candidates in offers:
            assert candidates and len(set(candidates)) == len(candidates)

    def test_candidates_come_in_a_fixed_order(self, offers):
        for percept, candidates in offers:
            assert self.space.candidates(percept) == candidates

    def test_every_verb_is_declared_and_offered_somewhere(self, offers):
        assert {g.verb for _, candidates in offers for g in candidates} == set(self.space.verbs)

    def test_a_candidates_text_parses_back_to_it(self, offers):
        for subgoal in {g for _, candidates in offers for g in candidates}:
            text = str(subgoal)
            assert self.space.parse(text) == subgoal
            assert self.space.parse(f"  {text.upper()}. ") == subgoal

    def test_texts_tell_subgoals_apart(self, offers):
        everything = {g for _, candidates in offers for g in candidates}
        assert len({str(g) for g in everything}) == len(everything)

    def test_encodings_are_ones_and_zeros_one_verb_each_and_distinct(self, offers):
        everything = sorted({g for _, candidates in offers for g in candidates}, key=str)
        vectors = np.stack([self.space.encode(g) for g in everything])
        assert vectors.shape == (len(everything), self.space.encoding_size)
        assert vectors.dtype == np.float32 and set(np.unique(vectors)) == {0.0, 1.0}
        verbs = vectors[:, : len(self.space.verbs)]
        np.testing.assert_array_equal(
            verbs.argmax(axis=1), [self.space.verbs.index(g.verb) for g in everything]
        )
        np.testing.assert_array_equal(verbs.sum(axis=1), 1.0)
        assert len(np.unique(vectors, axis=0)) == len(everything)

    def test_no_subgoal_is_encoded_as_zeros(self):
        vector = self.space.encode(None)
        assert vector.shape == (self.space.encoding_size,) and not vector.any()

    def test_every_candidate_points_somewhere(self, offers):
        for percept, candidates in offers:
            pointing = [self.space.target_mask(percept, g).any() for g in candidates]
            # Where nothing at all is left to do, one candidate stands alone.
            assert all(pointing) or len(candidates) == 1

    def test_the_description_mentions_whatever_a_candidate_names(self, offers):
        for percept, candidates in offers:
            text = self.space.describe(percept)
            for subgoal in candidates:
                assert f"{subgoal.color} {subgoal.kind}".strip() in text

    def test_completion_is_a_plain_yes_or_no(self, offers):
        for (before, candidates), (after, _) in pairwise(offers):
            answers = [self.space.is_complete(g, before, after) for g in candidates]
            assert all(isinstance(answer, bool | np.bool_) for answer in answers)

    def test_what_is_no_subgoal_is_quoted_with_an_example(self):
        assert self.nonsense
        for text in self.nonsense:
            with pytest.raises(SubgoalSyntaxError) as caught:
                self.space.parse(text)
            message = str(caught.value)
            assert repr(text) in message and "for example" in message
            assert all(verb in message for verb in self.space.verbs)
