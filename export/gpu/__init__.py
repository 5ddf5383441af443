"""The networks on a GPU, to measure what a bundle is compared with."""
