"""Engines: one file per inference runtime that can execute a bundle."""
