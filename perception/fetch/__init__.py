"""Perception of Fetch's table: segmentation, triangulation, dead reckoning, targets, pictures."""
