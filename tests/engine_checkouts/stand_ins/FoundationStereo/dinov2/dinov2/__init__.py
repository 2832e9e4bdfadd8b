"""A package inside of a folder of its own name."""
