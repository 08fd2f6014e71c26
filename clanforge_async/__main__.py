"""``python -m clanforge_async`` is ``clanforge``."""

import sys

from clanforge_async.cli import main

sys.exit(main())
