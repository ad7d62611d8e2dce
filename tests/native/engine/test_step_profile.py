"""scripts/profile_step with the bundled model: it finds the functions of each phase."""

from stepprofile.engine_part import Case, time_steps
from stepprofile.phases import PHASES

from llamabind.self_test_run import MODEL


def test_each_phase_of_a_step_is_timed():
    schema: dict[str, object] = {"type": "string", "minLength": 400}
    times = time_steps(MODEL, Case(4, n_tokens=8, schema=schema), n_threads=1)
    assert set(times.cpu) == set(PHASES)
    assert times.n_tokens == 32
    assert times.n_steps == 8
    assert 0.0 < times.beside_decode < sum(times.cpu.values())
