"""What people and programs read of a run; every reporter is a plugin on the lifecycle hooks."""
