"""Perception of MiniGrid and BabyAI: frames to memory maps, targets and pictures."""
