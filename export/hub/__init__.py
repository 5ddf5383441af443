"""Repositories of the Hugging Face Hub: what is published there and what is fetched."""
