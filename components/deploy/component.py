"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def deploy(root: str, run: str, job: str) -> dict:
    """Take the challenger through the gates and, if it passes, make it the champion."""
    from components.deploy.step import main

    return main(root, run or job)
