"""Trains the embedded model's DiT in the minutes that a GPU is lent for: one prepared command.

16 processes: sounds ─► latents and token ids in shards (`synthesis`)
                              │  taken in while they appear (`resident_data`)
one GPU:  flow matching ─► ARC (`clock_training`), each for a share of the minutes
                              │  candidates: sounds of held-out captions
8 processes: right sound, right words, Fréchet distance (`judging`) ─► the best into OUT (`results`)

`run.sh OUT [MINUTES]` is the command, `collect.sh OUT FOLDER` makes checkpoints of what it left.
"""
