"""`python -m aemtwin` is the command line."""

from aemtwin.cli import main

main()
