"""From frames to percepts: decoding, memory map, grounding, drawing."""
