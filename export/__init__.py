"""export: checkpoint -> networks -> programs -> bundle."""
