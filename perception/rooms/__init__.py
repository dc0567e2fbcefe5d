"""Perception of rooms in the first person: objects by color, own motion, a map of both."""
