"""ARC: adversarial relativistic-contrastive post-training of a flow model."""
