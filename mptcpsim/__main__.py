"""``python -m mptcpsim``."""

from mptcpsim.cli import main

if __name__ == "__main__":
    main()
