"""The checks of tests/e2e/clients/test_ollama.py through the ingress of a cluster."""

from tests.e2e.clients.test_ollama import *  # noqa: F403 - the tests and their fixtures

# Models of the cluster's other tests are in memory, too, and no request unloads a model.
del test_models_are_listed_and_shown  # noqa: F821
del test_keep_alive_zero_unloads_the_model_after_its_answer  # noqa: F821
# Starts a server of its own; tests/unit/server/cluster has the ingress's checks of keys.
del test_a_wrong_key_raises_the_clients_exception  # noqa: F821
