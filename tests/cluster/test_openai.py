"""The checks of tests/e2e/clients/test_openai.py through the ingress of a cluster."""

from tests.e2e.clients.test_openai import *  # noqa: F403 - the tests and their fixtures

# Starts a server of its own; tests/unit/server/cluster has the ingress's checks of keys.
del test_a_wrong_key_raises_the_clients_exception  # noqa: F821
