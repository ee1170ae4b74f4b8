"""`python -m deploy`: have the programs that unit tests run, so that no test waits for their build."""

from deploy.tools import HOME, built_tool

NEEDED = {"tools-k8s": "kustomize", "tools-compose": "cmd", "tools-ci": "actionlint"}  # one of each module brings all

for module, program in NEEDED.items():
    built_tool(HOME, module, program)
