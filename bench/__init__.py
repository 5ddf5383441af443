"""bench: bundles and engines -> measured figures."""
