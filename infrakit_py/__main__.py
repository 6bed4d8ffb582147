"""`python -m infrakit_py` is `infra`."""

from infrakit_py.cli import main

main()
