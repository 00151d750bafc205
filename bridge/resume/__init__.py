"""Keeps the events of resumable streams, sealed, for ten minutes: whoever lost the connection goes on from there."""
