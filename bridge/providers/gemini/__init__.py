"""Google's Gemini, in its own dialect."""
