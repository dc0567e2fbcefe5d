"""Perception of rooms in the first person: colours, bearings, own motion, a map of it all."""
