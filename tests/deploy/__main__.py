"""`python -m deploy`: have the programs that the tests of manifests need, so that no test waits for their build."""

from deploy.tools import tool

tool("kustomize")
