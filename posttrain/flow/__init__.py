"""Flow matching: the base model that ARC starts from."""
