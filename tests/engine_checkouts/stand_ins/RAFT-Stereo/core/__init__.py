"""A regular package, of the name that others use for a folder without this file."""
