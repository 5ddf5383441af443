"""cli: the front door, `arcmobile`. It parses and explains; the other folders do the work."""
