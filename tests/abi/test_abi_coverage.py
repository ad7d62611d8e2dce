"""Every declaration that we do not bind is listed with a reason, so an update shows new ones."""

import pytest

from llamabind._capi.annotations import STRUCTS
from llamabind._capi.loader import DECLARATIONS
from tests.support.abi_declared import declared_callbacks, declared_enums
from tests.support.abi_headers import Header, parse_header

pytestmark = pytest.mark.abi

# llama.h is bound completely. Functions of other headers that are not bound, and why.
UNBOUND_FUNCTIONS = {
    "llama.h": set[str](),
    "llamabind.h": set[str](),
    "mtmd.h": {
        # audio generation: experimental in the header, and we generate no speech
        "mtmd_gen_audio_get_info",
        "mtmd_gen_audio_process",
        "mtmd_gen_inp_default",
        # returns a std::map: C++ only, and the header says that it will be removed
        "mtmd_get_memory_usage",
        # used by llama.cpp's own tests only
        "mtmd_test_create_input_chunks",
    },
    "mtmd-helper.h": {
        # audio generation, as above
        "mtmd_helper_gen_audio_free",
        "mtmd_helper_gen_audio_get_output",
        "mtmd_helper_gen_audio_init",
        "mtmd_helper_gen_audio_reset",
        "mtmd_helper_gen_audio_set_input",
        "mtmd_helper_gen_audio_step_gen",
        "mtmd_helper_gen_audio_step_prompt",
    },
}
UNBOUND_TYPES = {
    "llama.h": set[str](),
    "llamabind.h": set[str](),
    "mtmd.h": {
        "mtmd_gen_audio_info",
        "mtmd_gen_audio_type",
        "mtmd_gen_inp",
        "mtmd_gen_out",
        "mtmd_gen_process_type",
    },
    "mtmd-helper.h": {"mtmd_helper_gen_audio_inp", "mtmd_helper_gen_audio_outtype"},
}


@pytest.mark.parametrize("header", UNBOUND_FUNCTIONS)
def test_unbound_functions_are_listed(header: str, headers: dict[str, Header]) -> None:
    assert set(headers[header].functions) - DECLARATIONS.keys() == UNBOUND_FUNCTIONS[header]


@pytest.mark.parametrize("header", UNBOUND_TYPES)
def test_unbound_structs_enums_and_callbacks_are_listed(
    header: str, headers: dict[str, Header]
) -> None:
    there = headers[header]
    bound = STRUCTS.keys() | {one.__name__ for one in [*declared_enums(), *declared_callbacks()]}
    found = {*there.structs, *there.enums, *there.callbacks} - bound
    assert found == UNBOUND_TYPES[header]


def test_no_deprecated_function_is_bound(headers: dict[str, Header]) -> None:
    deprecated = {name for header in headers.values() for name in header.deprecated}
    assert len(deprecated) >= 36
    assert deprecated & DECLARATIONS.keys() == set()


def test_the_header_reader_knows_every_form_of_declaration() -> None:
    header = parse_header("""
        #define LLAMA_API __attribute__ ((visibility ("default")))
        #define LLAMA_LIMIT 3
        extern "C" {
        typedef bool (*progress_callback)(float progress, void * user_data); // a callback
        enum color { RED, GREEN = 1 << 1, /* none */ BLUE = GREEN };
        typedef struct pair { int32_t a[4]; enum color * b; } pair;
        struct mixed {
            union { int64_t i; double f; };
            struct { float x; float y; } point;
            const char * (*name)(const struct mixed * self);
        };
        LLAMA_API const struct pair * make_pair(void);
        DEPRECATED(LLAMA_API void old_way(int a), "use make_pair");
        LLAMA_API DEPRECATED(size_t older_way(int a), "use make_pair");
        }
    """)
    assert header.functions == ["make_pair"]
    assert header.deprecated == ["old_way", "older_way"]
    assert header.enums == {"color": ["RED", "GREEN", "BLUE"]}
    assert header.structs == {"pair": ["a", "b"], "mixed": ["i", "f", "point", "name"]}
    assert header.callbacks == ["progress_callback"]
    assert "LLAMA_LIMIT" in header.macros
