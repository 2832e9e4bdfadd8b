"""`python -m engine`, for launchers that start modules."""

from engine.cli.main import main

if __name__ == "__main__":  # the processes of `--processes` import it under another name
    main()
