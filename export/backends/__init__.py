"""Backends: one file per runtime a network can be lowered to."""
