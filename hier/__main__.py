"""``python -m hier``: the command line without the installed script."""

import sys

from hier.cli import main

sys.exit(main())
