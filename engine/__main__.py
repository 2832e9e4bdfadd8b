"""`python -m engine`, for launchers that start modules."""

from engine.cli.main import main

main()
