"""Adversarial Relativistic-Contrastive post-training of a flow model (ARC).

Novack et al. 2025, "Fast Text-to-Audio Generation with Adversarial Post-Training", arXiv
2505.08175 (the ARC paper).

In the order of the paper: :mod:`.noise_levels`, :mod:`.discriminator`, :mod:`.losses`, and one step
of both networks in :mod:`.trainer`.
"""
