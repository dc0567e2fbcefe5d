"""Making a small planner from scratch: demonstrations, a tiny model, training, accuracy."""
