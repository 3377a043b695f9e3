"""The Kubeflow pipeline `continuous-nas`: the same object is compiled for a cluster and run on a laptop.

Steps hand files over through the run's folder, or through the store where the root is one, and small results through
parameters. The report is the exit handler, so that a cycle that failed has one too.
"""

import os

from kfp import dsl, kubernetes

from components.data_prep.component import data_prep
from components.deploy.component import deploy
from components.drift.component import drift
from components.fairness.component import fairness
from components.report.component import report
from components.retrain.component import retrain
from components.search.component import search

NAME = "continuous-nas"
VOLUME = "/var/lib/evernas/runs"
_ROOT = os.environ.get("EVERNAS_ROOT", "")
ROOT = _ROOT if _ROOT.startswith("s3://") else VOLUME
"""Where runs are kept unless a run of the pipeline says otherwise. Read when it is compiled, as the image is."""

SETTINGS = "evernas-settings"
VARIABLES = ("EVERNAS_ANCHORS", "EVERNAS_S3_SSE", "AWS_ENDPOINT_URL_S3", "AWS_REGION", "MLFLOW_TRACKING_URI")
S3_SECRET = "evernas-s3"  # noqa: S105  the name of one, not one
CREDENTIALS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
KEY_SECRET = "evernas-signing"  # noqa: S105  the name of one, not one
KEYS = "/home/evernas/.config/evernas"


def _on_cluster(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Give a step what it needs: runs, the signing key, an installation's settings, credentials if pods have no role.

    KFP's cache never answers in its place: a cycle is about what is true now.
    """
    if ROOT == VOLUME:
        kubernetes.mount_pvc(task, pvc_name="evernas-runs", mount_path=VOLUME)
    kubernetes.use_config_map_as_env(task, SETTINGS, {name: name for name in VARIABLES}, optional=True)
    kubernetes.use_secret_as_env(task, S3_SECRET, {name: name for name in CREDENTIALS}, optional=True)
    kubernetes.use_secret_as_volume(task, secret_name=KEY_SECRET, mount_path=KEYS, optional=True)
    return task.set_caching_options(enable_caching=False)


@dsl.pipeline(name=NAME, description="Look for drift; search, retrain, audit and deploy if there is reason to.")
def continuous_nas(spec: str, base: str = VOLUME, root: str = ROOT, run: str = "", force: bool = False) -> None:
    """Run one cycle.

    Args:
        spec: The spec's text.
        base: The folder that the spec's relative paths start from.
        root: What holds all cycles: a folder, or s3://bucket/prefix.
        run: The cycle's name; empty for the id of the pipeline's run.
        force: Search even if there is no drift.
    """
    where = {"root": root, "run": run, "job": dsl.PIPELINE_JOB_ID_PLACEHOLDER}
    last = _on_cluster(report(**where))
    with dsl.ExitHandler(last, name="cycle"):
        checked = _on_cluster(drift(spec=spec, base=base, force=force, **where))
        with dsl.If(checked.output == "search", name="search-needed"):
            done = None
            for step in (data_prep, search, retrain, fairness, deploy):
                task = _on_cluster(step(**where))
                done = task.after(done) if done else task
