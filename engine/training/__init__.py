"""One training loop: optimiser, schedule, guard, averaging, evaluation."""
