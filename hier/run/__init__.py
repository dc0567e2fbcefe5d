"""A run: set-up, training, evaluation, recording, its folder, and many runs at a time."""
