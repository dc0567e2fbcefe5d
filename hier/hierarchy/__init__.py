"""Percepts, subgoals and re-planning, and the hierarchy as an SB3 environment."""
