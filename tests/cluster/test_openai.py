"""The checks of tests/e2e/clients/test_openai.py through the ingress of a cluster."""

import pytest

from tests.e2e.clients.test_openai import *  # noqa: F403 - the tests and their fixtures

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

# Starts a server of its own; tests/unit/server/cluster has the ingress's checks of keys.
del test_a_wrong_key_raises_the_clients_exception  # noqa: F821
