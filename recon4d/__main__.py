"""`python -m recon4d` is the command `recon4d`."""

import sys

from recon4d.cli import main

if __name__ == "__main__":
    sys.exit(main())
