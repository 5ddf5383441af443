"""A base checkpoint to an ARC post-trained one: data, training, judgement."""
