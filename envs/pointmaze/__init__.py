"""Point mazes of gymnasium-robotics: their environment, percept, subgoals and expert."""
