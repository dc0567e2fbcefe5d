"""Fetch's manipulation tasks of gymnasium-robotics: environment, percept, subgoals and expert."""
