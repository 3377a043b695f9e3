"""Runs a begun cycle's pipeline on this machine: `python -m pipelines.local ROOT RUN`. The command line starts it.

It lives in a session of its own, so that one signal ends it with all its steps; if whoever started it is gone, it ends.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
import warnings


def main(root: str, run_id: str) -> int:
    """Run the pipeline and return 0, or 1 if a step failed."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    warnings.filterwarnings("ignore", message="You may be attemping to run a task", category=RuntimeWarning)
    from kfp import local

    from components.run import Run
    from pipelines.continuous import continuous_nas

    run = Run.open(root, run_id)
    runner = local.SubprocessRunner(use_venv=False)
    local.init(runner=runner, pipeline_root=str(run.folder / "kfp"), raise_on_error=True)
    try:
        continuous_nas(spec=run.spec_text, base=str(run.base), root=root, run=run_id, force=run.forced)
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
