"""Feedback from controller to planner: the returns of subgoals fine-tune the planner."""
