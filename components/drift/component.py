"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def drift(root: str, run: str, job: str, spec: str, base: str, force: bool) -> str:
    """Begin the cycle, and answer `search` if there is reason to search, otherwise `stop`."""
    from components.drift.step import main

    return main(root, run or job, spec, base, force)
