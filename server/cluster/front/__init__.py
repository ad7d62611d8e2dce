"""The parts of the ingress that need no Ray: requests, keys, names, lists, errors, metrics."""
