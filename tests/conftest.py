"""Settings of all tests."""

import hypothesis

# A busy machine is no failure: no test has a limit of time for one example.
hypothesis.settings.register_profile("llamabind", deadline=None)
hypothesis.settings.load_profile("llamabind")
