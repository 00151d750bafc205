"""What clients of OpenAI's images speak."""
