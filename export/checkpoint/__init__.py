"""Checkpoints: fetched, made or found in a folder, checked, and read tensor by tensor."""
