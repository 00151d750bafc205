"""What clients of OpenAI's older, plain completions speak."""
