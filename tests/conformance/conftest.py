from __future__ import annotations

import sys
from pathlib import Path

# The tests import `play`, which is a program too: a new process has to play the same games.
sys.path.insert(0, str(Path(__file__).parent))
