"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def fairness(root: str, run: str, job: str) -> dict:
    """Audit the challenger on rows that nothing has seen."""
    from components.fairness.step import main

    return main(root, run or job)
