"""What every domain's subgoal space must do; a domain's tests inherit it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hier.envs.subgoal import Subgoal, SubgoalSpace, SubgoalSyntaxError
from hier.testing import check_subgoal_space


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
    def offered(cls, percepts) -> list[Subgoal]:
        """Every candidate of some percept."""
        assert percepts
        return sorted({g for percept in percepts for g in cls.space.candidates(percept)}, key=str)

    def test_it_keeps_the_contract_of_every_domain(self, percepts):
        assert self.nonsense
        check_subgoal_space(self.space, percepts, nonsense=self.nonsense)

    def test_every_verb_is_declared_and_offered_somewhere(self, offered):
        assert {g.verb for g in offered} == set(self.space.verbs)

    def test_encodings_are_ones_and_zeros_and_begin_with_the_verb(self, offered):
        vectors = np.stack([self.space.encode(g) for g in offered])
        assert set(np.unique(vectors)) == {0.0, 1.0}
        verbs = vectors[:, : len(self.space.verbs)]
        np.testing.assert_array_equal(
            verbs.argmax(axis=1), [self.space.verbs.index(g.verb) for g in offered]
        )
        np.testing.assert_array_equal(verbs.sum(axis=1), 1.0)

    def test_what_is_no_subgoal_is_answered_with_the_verbs(self):
        for text in self.nonsense:
            with pytest.raises(SubgoalSyntaxError) as caught:
                self.space.parse(text)
            assert all(verb in str(caught.value) for verb in self.space.verbs)
