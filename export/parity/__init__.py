"""Network against reference: arrays of the reference implementation, compared stage by stage."""
