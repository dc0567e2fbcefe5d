"""Examples in docstrings are true."""

import doctest
import importlib

import pytest

from tests.test_imports import FILES

# Imported by name, not collected by pytest: a file outside of hier/ would be imported twice.
WITH_EXAMPLES = [module for module, file in FILES.items() if ">>> " in file.read_text()]


def test_there_are_examples():
    assert {"hier.testing", "hier.envs.registry"} <= set(WITH_EXAMPLES)


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_are_true(name):
    found = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert found.attempted > 0 and found.failed == 0
