"""The soak: thousands of streams, half of them dropped at random moments, and nothing of them stays behind."""
