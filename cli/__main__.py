"""`python -m arcmobile.cli`: the same as the `arcmobile` script."""

from arcmobile.cli.main import main

main()
