"""MiniGrid and BabyAI: simulators, frames, and the subgoals one can have in them."""
