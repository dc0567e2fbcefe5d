"""Planners that are transformers models: prompts, pictures, exact scoring."""
