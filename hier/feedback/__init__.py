"""Feedback from student to teacher: what subgoals earned becomes gradient on the planner."""
