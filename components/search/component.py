"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def search(root: str, run: str, job: str) -> dict:
    """Look for the best architecture."""
    from components.search.step import main

    return main(root, run or job)
