"""Loaded before any test: pytest gives test modules parents of its own, and the folder `dapr` is not all of `dapr`."""

import dapr  # noqa: F401 - the SDK's, which lies beside the folder; what stands in sys.modules is left alone
