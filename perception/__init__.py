"""From observations to percepts: vision, memory, grounding and drawing, for each domain."""
