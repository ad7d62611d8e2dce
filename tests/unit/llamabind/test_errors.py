"""The tree of exceptions at the top of llamabind/errors.py is the tree of its classes."""

import re

from llamabind import errors


def _drawn() -> dict[str, str]:
    """The name of each drawn class with its parent's; a level is four characters further in."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"((?:[│ ] {3})*)([├└]── )?(\w+Error)\b", line)
        if found is None:
            continue
        depth = len(found[1] + (found[2] or "")) // 4
        assert depth <= len(path), f"{found[3]} is drawn below nothing"
        path[depth:] = [found[3]]
        assert found[3] not in parents, f"{found[3]} is drawn twice"
        parents[found[3]] = path[depth - 1] if depth else ""
    return parents


def _defined() -> dict[str, str]:
    classes = [
        item
        for item in vars(errors).values()
        if isinstance(item, type) and item.__module__ == errors.__name__
    ]
    return {item.__name__: item.__bases__[0].__name__ for item in classes}


def test_the_tree_in_the_docstring_has_every_class_below_its_parent():
    defined = _defined() | {"LlamaError": ""}
    assert len(defined) > 20
    assert _drawn() == defined


def test_every_exception_is_a_llama_error():
    assert all(issubclass(getattr(errors, name), errors.LlamaError) for name in _defined())
