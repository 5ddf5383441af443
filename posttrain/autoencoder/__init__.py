"""The autoencoder: waveforms to latents and back."""
