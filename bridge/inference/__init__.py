"""The engine: one inference from the hold to the capture, whatever dialect it came in."""
