"""The stage's face to Kubeflow Pipelines."""

from kfp import dsl

from components.image import IMAGE


@dsl.component(base_image=IMAGE, install_kfp_package=False)
def report(
    root: str,
    run: str,
    job: str,
    page: dsl.Output[dsl.HTML],
    status: dsl.PipelineTaskFinalStatus,  # noqa: ARG001  what makes this the exit handler; the record knows more
) -> dict:
    """Write the report and close the cycle, however it ended."""
    import shutil

    from components.report.step import main

    summary, path = main(root, run or job)
    shutil.copyfile(path, page.path)
    return summary
