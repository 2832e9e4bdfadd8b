"""`engine sweep`: search for the keys of a recipe that give the best figure, with Optuna."""
