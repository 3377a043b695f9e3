"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def data_prep(root: str, run: str, job: str) -> dict:
    """Read, check, split and encode the data."""
    from components.data_prep.step import main

    return main(root, run or job)
