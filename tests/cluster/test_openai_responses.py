"""The checks of tests/e2e/clients/test_openai_responses.py through the ingress of a cluster."""

from tests.e2e.clients.test_openai_responses import *  # noqa: F403 - the tests and their fixtures
