"""OpenAI, and the dialect that most upstreams speak."""
