"""Errors travel between processes as they are."""

import pickle

import pytest

from hier.envs import errors
from hier.envs.errors import UnknownNameError, UserError
from hier.run.pool import JobsFailedError


@pytest.mark.parametrize(
    "error",
    [
        UnknownNameError("planner", "orcale", ["oracle", "random"]),
        *(
            kind("what is wrong")
            for kind in vars(errors).values()
            if isinstance(kind, type)
            and issubclass(kind, UserError)
            and kind is not UnknownNameError
        ),
    ],
)
def test_an_error_is_the_same_in_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)


def test_a_job_with_an_unknown_name_says_so():
    from hier.run.pool import side_by_side

    with pytest.raises(JobsFailedError, match="did you mean 'BabyAI-GoToObj-v0'"):
        side_by_side(_unknown, [1])


def _unknown(job):
    from hier.envs.registry import domain_of

    domain_of("BabyAI-GoToObjj-v0")
