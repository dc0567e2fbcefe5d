"""Making a small planner from a domain's expert."""
