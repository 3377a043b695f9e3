"""The Kubeflow pipeline and the command line."""
