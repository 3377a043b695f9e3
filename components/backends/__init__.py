"""The systems outside: storage, signing, MLflow, Ray.

Engines read their environment when they are imported, so what they shall do other than by default is said here, before
any of them is. Whoever has set a variable keeps it.
"""

import os

_SETTINGS = {
    # Nothing is sent anywhere, and MLflow loads no pickle.
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # two lines a candidate, also where a script reads JSON
    "RAY_USAGE_STATS_ENABLED": "0",
    # A request that MLflow repeats by itself can make a run twice; the mirror repeats with care, and waits for nobody.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "15",
    # The name hides it: without this, a Ray of our own listens on every network of the machine, not on loopback only.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # The ledger is the log: Tune writes no results, prints nothing, and its snapshots are read by nobody.
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "inf",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    # A report carries no metric that Tune compares; an interrupt ends the search at once; a stopped trial may take a
    # while to end.
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",
    # Else a trial that waits for a machine of its own would let nobody pass.
    "TUNE_MAX_PENDING_TRIALS_PG": "64",
}

for _name, _value in _SETTINGS.items():
    os.environ.setdefault(_name, _value)
