"""``python -m popsim.cli`` is the command ``popsim``."""

from popsim.cli import main

main()
