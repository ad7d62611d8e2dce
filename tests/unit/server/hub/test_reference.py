"""Names of models on a hub: which are taken, and what they mean."""

import pytest

from server.hub.reference import (
    BadReferenceError,
    ModelReference,
    check_file,
    check_revision,
    why_not_a_path,
)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("org/repo", ModelReference("org/repo")),
        ("  org/repo ", ModelReference("org/repo")),
        ("org/repo:Q4_K_M", ModelReference("org/repo", "Q4_K_M")),
        ("org/repo:q4_k_m@v1.0", ModelReference("org/repo", "q4_k_m", "v1.0")),
        ("org/repo@refs/pr/3", ModelReference("org/repo", None, "refs/pr/3")),
        ("hf.co/org/repo:Q8_0", ModelReference("org/repo", "Q8_0")),
        ("https://huggingface.co/org/repo", ModelReference("org/repo")),
        ("HF.CO/org/repo:latest", ModelReference("org/repo")),
        ("org/repo:UD-Q4_K_XL", ModelReference("org/repo", "UD-Q4_K_XL")),
        ("Org_1/re.po-2_GGUF", ModelReference("Org_1/re.po-2_GGUF")),
    ],
)
def test_a_name_is_a_repository_a_quantisation_and_a_revision(
    text: str, meaning: ModelReference
) -> None:
    assert ModelReference.parse(text) == meaning
    assert ModelReference.parse(str(meaning)) == meaning


@pytest.mark.parametrize(
    "text",
    [
        *("", "repo", "a/b/c", "/repo", "org/", "org//repo", "../repo", "org/..", "org/re..po"),
        *("org/re--po", "org/repo.git", "-org/repo", "org/repo-", ".org/repo", "org/.repo"),
        *("org/re po", "org/re\npo", "org\0/repo", "örg/repo", "org/" + "a" * 97, "org/repo:"),
        *(
            "org/repo:../x",
            "org/repo:Q4 K",
            "org/repo:" + "Q" * 65,
            "https://evil.example/org/repo",
        ),
        *("org/repo@", "org/repo@..", "org/repo@a/../b", "org/repo@/etc", "org/repo@a b"),
        *("org/repo@a.lock", "org/repo@-x", "org/repo@a//b", "org/repo@a\x7f", "org/repo@a/.b"),
        *("org/repo@x/", "datasets/org/repo", "org\\repo/x", "org/repo?x=1", "org/repo#x"),
    ],
)
def test_what_cannot_be_a_name_is_refused(text: str) -> None:
    with pytest.raises(BadReferenceError) as caught:
        ModelReference.parse(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("revision", ["main", "v1.0", "refs/pr/1", "a" * 40, "feature/x-1_2"])
def test_branches_tags_and_commits_are_revisions(revision: str) -> None:
    check_revision(revision)


@pytest.mark.parametrize(
    "path", ["m.gguf", "Q4_K_M/m-00001-of-00002.gguf", "a b.gguf", "ä.gguf", "M.GGUF"]
)
def test_paths_in_a_repository_are_files(path: str) -> None:
    check_file(path)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/etc/x.gguf", "../m.gguf", "a/../m.gguf", "./m.gguf", "a//m.gguf", "a/.x.gguf"),
        *("a\\m.gguf", "m\n.gguf", "m\0.gguf", "m.gguf ", " m.gguf", "m.bin", "a/", "\ud800.gguf"),
        *("a" * 252 + ".gguf", "/".join(["a" * 200] * 6) + ".gguf"),
    ],
)
def test_paths_that_lead_elsewhere_or_cannot_be_written_are_refused(path: str) -> None:
    with pytest.raises(BadReferenceError):
        check_file(path)
    assert why_not_a_path(path) is not None or path == "m.bin"
