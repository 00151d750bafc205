"""Whom an upstream's error speaks against, and what of it a client may read."""
