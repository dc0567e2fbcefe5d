"""The calibration of the agent's camera, which looks level from the height of its eyes."""

from __future__ import annotations

import numpy as np

from hier.envs.rooms.percept import RAYS

FRAME = (60, 80, 3)
FOCAL = FRAME[0] / 2 / np.tan(np.deg2rad(30))  # pixels: the camera sees 60 degrees up and down
EYE = 1.5  # meters above the floor
FARTHEST = 10.0  # meters, beyond which nothing is looked for in a picture
MAX_SIGHTINGS = 8  # objects seen at once
# Tangents of the rays' angles to the left, and of half the angle that the camera sees.
TANGENTS = (FRAME[1] / 2 - (np.arange(RAYS) + 0.5) * FRAME[1] / RAYS) / FOCAL
EDGE = FRAME[1] / 2 / FOCAL
# Unit vectors along the rays, forward and left.
DIRECTIONS = np.stack([np.ones(RAYS), TANGENTS], 1) / np.hypot(1, TANGENTS)[:, None]
