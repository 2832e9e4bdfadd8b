"""Which tensors a stage trains, and the proof that it trained nothing else."""
