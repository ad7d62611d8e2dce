"""OfferedTools: a request's tools as functions, and the form in which their calls come back."""

from typing import Any, Literal

import msgspec

from server.api.schema.left_out import LeftOut
from server.api.schema.messages import INPUT, FunctionDefinition, Tool
from server.errors import InvalidRequestError
from server.protocol.job import ToolForm


class InputFormat(msgspec.Struct, frozen=True, kw_only=True):
    """The format of a custom tool's input; a grammar in Chat Completions is one level deeper."""

    type: str | None = None
    syntax: str | None = None
    definition: str | None = None
    grammar: "InputGrammar | None" = None


class InputGrammar(msgspec.Struct, frozen=True, kw_only=True):
    """A grammar in lark's syntax, or a regular expression."""

    syntax: str | None = None
    definition: str | None = None


class _Offer(msgspec.Struct, kw_only=True):
    path: str
    kind: Literal["function", "custom"]
    namespace: str | None
    function: FunctionDefinition
    is_deferred: bool


class OfferedTools:
    """Collects functions, custom tools and those of namespaces; offers all of them as functions.

    A tool of a namespace is offered by its own name, unless another tool has the same name; then
    the namespace is put before it. A deferred tool is offered only once the conversation names it
    (`load`), or if the tool that searches for deferred tools was left out (`load_all`).
    """

    def __init__(self, left_out: LeftOut) -> None:
        self._left_out = left_out
        self._offers: list[_Offer] = []
        self._loaded: set[str] = set()
        self._removed: set[str] = set()
        self._loads_all = False
        # Offers that `tools` left out for another one of the same name.
        self._seconds: list[_Offer] = []

    def add_function(
        self,
        path: str,
        function: FunctionDefinition,
        *,
        namespace: str | None = None,
        is_deferred: bool = False,
    ) -> None:
        """Offer a function."""
        self._offers.append(
            _Offer(
                path=path,
                kind="function",
                namespace=namespace,
                function=function,
                is_deferred=is_deferred,
            )
        )

    def add_custom(
        self,
        path: str,
        name: str,
        description: str | None,
        form: InputFormat | None,
        *,
        namespace: str | None = None,
        is_deferred: bool = False,
    ) -> None:
        """Offer a custom tool as a function with one text. A grammar of the text is described to
        the model, but not enforced; a regular expression is a pattern like any other.
        """
        text: dict[str, Any] = {"type": "string"}
        grammar = (
            form.grammar or InputGrammar(syntax=form.syntax, definition=form.definition)
            if (form)
            else InputGrammar()
        )
        if grammar.definition and grammar.syntax == "regex":
            text["pattern"] = f"^({grammar.definition})$"
        elif grammar.definition:
            kind = grammar.syntax or "unknown"
            self._left_out.warn(
                f"{path}.format is not enforced: a grammar in {kind!r} syntax is only described to "
                "the model"
            )
            text["description"] = f"Text that matches this {kind} grammar:\n{grammar.definition}"
        parameters = {
            "type": "object",
            "properties": {INPUT: text},
            "required": [INPUT],
            "additionalProperties": False,
        }
        self._offers.append(
            _Offer(
                path=path,
                kind="custom",
                namespace=namespace,
                function=FunctionDefinition(name, description, parameters),
                is_deferred=is_deferred,
            )
        )

    def load(self, name: str) -> None:
        """Offer the deferred tool with this name: the conversation names it."""
        self._loaded.add(name)
        self._removed.discard(name)

    def load_all(self) -> None:
        """Offer all deferred tools, because the tool that searches for them was left out."""
        self._loads_all = True

    def remove(self, name: str) -> None:
        """Do not offer the tool with this name any more."""
        self._removed.add(name)
        self._loaded.discard(name)

    def wire_name(self, name: str, namespace: str | None = None) -> str:
        """The name by which the model calls a tool; that of an unknown tool is unchanged."""
        same = [offer for offer in self._offers if offer.function.name == name]
        exact = [offer for offer in same if offer.namespace == namespace]
        found = exact or ([] if namespace else same)
        return self._wire_name(found[0]) if found else name

    def tools(self) -> list[Tool]:
        """The tools for the prompt; those that are not offered are left out with a warning."""
        tools: list[Tool] = []
        known: dict[str, FunctionDefinition] = {}
        for offer in self._offers:
            name = offer.function.name
            if name in self._removed:
                continue
            is_loaded = self._loads_all or name in self._loaded
            if offer.is_deferred and not is_loaded:
                reason = "it is deferred (defer_loading), and no message names it"
                self._left_out.add(offer.path, offer.kind, name, reason)
                continue
            function = msgspec.structs.replace(offer.function, name=self._wire_name(offer))
            first = known.setdefault(function.name, function)
            if first is function:
                tools.append(Tool(function))
                continue
            self._seconds.append(offer)
            if first != function:
                self._leave_out_second(offer)
        return tools

    def _leave_out_second(self, offer: _Offer) -> None:
        """Leave out the second tool of a name. Raises InvalidRequestError if it is strict: calls
        would not be held to its schema.
        """
        name = offer.function.name
        if offer.function.strict:
            raise InvalidRequestError(
                f"field '{offer.path}': another tool is named {name!r} too, and this one is "
                "strict; give it another name",
                param=offer.path,
            )
        self._left_out.warn(f"{offer.path} is left out: another tool is named {name!r} too")

    def forms(self) -> dict[str, ToolForm]:
        """The forms of tools whose calls are not plain functions, by the name that is called; to
        be called after `tools`.
        """
        return {
            self._wire_name(offer): ToolForm(
                kind=offer.kind, name=offer.function.name, namespace=offer.namespace
            )
            for offer in self._offers
            if (offer.kind == "custom" or offer.namespace) and offer not in self._seconds
        }

    def _wire_name(self, offer: _Offer) -> str:
        name = offer.function.name
        if offer.namespace is None:
            return name
        same = [other for other in self._offers if other.function.name == name]
        return name if len(same) == 1 else f"{offer.namespace}__{name}"


def input_arguments(text: str) -> str:
    """The arguments of the function that stands for a custom tool, for a call with `text`."""
    return msgspec.json.encode({INPUT: text}).decode()
