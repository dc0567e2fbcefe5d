"""MiniWorld's rooms in three dimensions: environments, percepts, subgoals and their expert."""
