"""Planners behind an OpenAI-compatible server, and a server of our own."""
