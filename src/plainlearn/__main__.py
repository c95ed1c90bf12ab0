"""`python -m plainlearn` is the `plainlearn` command."""

from plainlearn.cli import main

if __name__ == "__main__":
    main()
