"""What every training shares: settings, state, loop, networks and plots."""
