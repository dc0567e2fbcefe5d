"""Perception of rooms in the first person: colors, bearings, own motion, a map of it all."""
