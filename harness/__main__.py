"""`python -m harness` is the joulebench command."""

from harness.cli.main import main

if __name__ == "__main__":
    main()
