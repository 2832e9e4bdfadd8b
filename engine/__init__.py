"""Train a base network and the auxiliary module that corrects it, in stages declared as data."""

__version__ = "0.1.0"
