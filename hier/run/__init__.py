"""Everything that knows of a run: set-up, training, evaluation, recording, its folder."""
