"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def retrain(root: str, run: str, job: str) -> dict:
    """Train the best architecture anew with several seeds."""
    from components.retrain.step import main

    return main(root, run or job)
