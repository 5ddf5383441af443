"""runtime: bundle -> engine -> sampler -> latents -> chunked decode -> audio. No PyTorch here."""
