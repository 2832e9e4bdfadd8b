"""The version of the engine; `engine.__version__`."""

__version__ = "0.1.0"
