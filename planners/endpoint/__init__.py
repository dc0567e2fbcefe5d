"""A planner behind any server with OpenAI's chat completions."""
