"""Quality: what a recipe costs in accuracy, by component, layer and whole sound."""
