"""The generator and its training by flow matching: the base model that ARC starts from."""
