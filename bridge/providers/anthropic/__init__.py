"""Anthropic's Claude, in its own dialect."""
