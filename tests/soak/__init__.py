"""The soak: thousands of streams, half of them dropped at random moments; none may leave anything behind."""
