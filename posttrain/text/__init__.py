"""The text encoder and its vocabulary."""
