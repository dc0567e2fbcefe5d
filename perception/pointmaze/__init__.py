"""Perception of mazes from above: segmentation, dead reckoning, targets, pictures."""
