"""Captioned sounds and their latents on disk, as trainings read them."""
