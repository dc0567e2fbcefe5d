"""How Stable-Baselines3 is used: networks and algorithms built from the configuration."""
