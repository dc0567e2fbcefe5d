import sys

from hier.cli import main

sys.exit(main())
