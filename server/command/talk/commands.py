"""The /commands of a chat."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from server.command.client.errors import CommandError
from server.command.client.files import media_part, response_format
from server.command.flags.tables import sampling_flags
from server.command.talk.conversation import Conversation

# Words of /set that are switches, and the fields of a request that they set.
_SWITCHES: Final = {"think": "enable_thinking"}
_ON: Final = {"on": True, "true": True, "1": True, "off": False, "false": False, "0": False}


class Models(Protocol):
    """The models of the server."""

    def names(self) -> list[str]:
        """The names of all models."""

    def choose(self, name: str) -> str:
        """Load a model; returns its id. Raises CommandError."""


@dataclass(slots=True, kw_only=True)
class Chat:
    """The state that /commands change."""

    model: str
    models: Models
    conversation: Conversation = field(default_factory=Conversation)
    shows_speed: bool = False
    is_over: bool = False
    asks_again: bool = False


def run_command(chat: Chat, line: str) -> str:
    """Run a line that begins with a slash; returns what to print. Raises CommandError."""
    word, _, rest = line.partition(" ")
    command = _COMMANDS.get(word) or _COMMANDS.get(_OTHER_NAMES.get(word, ""))
    if command is None:
        raise CommandError(f"unknown command {word}; /help lists all")
    return command.run(chat, rest.strip())


def is_command(text: str) -> bool:
    """Whether a message is a command; a path such as /etc/hosts or a comment with // is not."""
    word = text.split(maxsplit=1)[0] if text.strip() else ""
    return word.startswith("/") and "/" not in word[1:]


def command_names() -> list[str]:
    """The names of all commands."""
    return [*_COMMANDS]


def help_text() -> str:
    """One line for each command."""
    names = {name: f"{name} {one.takes}".strip() for name, one in _COMMANDS.items()}
    longest = max(map(len, names.values()))
    lines = [f"  {names[name]:<{longest}}  {one.help}" for name, one in _COMMANDS.items()]
    keys = (
        '"""             begin and end a message of several lines',
        "Ctrl-C          stop the answer; twice at the prompt: leave",
        "Ctrl-D          leave",
        "Tab             complete a command, a model or a path",
    )
    return "\n".join([*lines, "", *(f"  {key}" for key in keys)])


def _help(_: Chat, __: str) -> str:
    return help_text()


def _clear(chat: Chat, _: str) -> str:
    chat.conversation.messages.clear()
    chat.conversation.parts.clear()
    return "the conversation is empty again"


def _system(chat: Chat, text: str) -> str:
    if not text:
        return chat.conversation.system or "there is no system prompt; /system TEXT sets one"
    chat.conversation.system = "" if text in ("-", '""') else text
    return "the system prompt is set" if chat.conversation.system else "no system prompt"


def _model(chat: Chat, name: str) -> str:
    if not name:
        names = [f"{'*' if one == chat.model else ' '} {one}" for one in chat.models.names()]
        return "\n".join(names)
    chat.model = chat.models.choose(name)
    return f"answers are from {chat.model} now; the conversation goes on"


def _set(chat: Chat, text: str) -> str:
    name, _, value = text.partition(" ")
    name, value = name.replace("-", "_"), value.strip()
    flags = sampling_flags()
    fields = chat.conversation.fields
    if not name:
        shown = [f"  {one} {fields[one]}" for one in fields]
        known = ", ".join([*flags, *_SWITCHES, "schema", "speed"])
        return "\n".join([*(shown or ["  nothing is set"]), f"can be set: {known}"])
    if name in ("speed", "verbose"):
        chat.shows_speed = _switch(value or "on")
    elif name in _SWITCHES:
        fields[_SWITCHES[name]] = _switch(value or "on")
    elif name == "schema":
        fields["response_format"] = response_format(value)
    elif name in flags:
        try:
            read = flags[name].read(value)
        except ValueError as error:
            raise CommandError(f"{name}: {error}") from None
        fields[name] = list(read) if isinstance(read, tuple) else read
    else:
        raise CommandError(f"unknown setting {name}; /set lists all")
    return f"{name} is set"


def _unset(chat: Chat, name: str) -> str:
    if not name:
        raise CommandError("/unset needs the name of a setting; /set lists those that are set")
    name = name.replace("-", "_")
    if name in ("speed", "verbose"):
        chat.shows_speed = False
    else:
        key = {"schema": "response_format", **_SWITCHES}.get(name, name)
        if chat.conversation.fields.pop(key, None) is None:
            raise CommandError(f"{name} is not set; /set lists the settings that are")
    return f"{name} has the model's default again"


def _switch(word: str) -> bool:
    if word.lower() not in _ON:
        raise CommandError(f"{word!r} is neither on nor off")
    return _ON[word.lower()]


def _save(chat: Chat, name: str) -> str:
    if not name:
        raise CommandError("/save needs a name, or the path of a file")
    return f"saved as {chat.conversation.save(name, chat.model)}"


def _load(chat: Chat, name: str) -> str:
    if not name:
        raise CommandError("/load needs the name of a saved conversation, or the path of a file")
    chat.conversation.load(name)
    return f"{len(chat.conversation.messages)} messages"


def _regenerate(chat: Chat, _: str) -> str:
    if not chat.conversation.drop_answer():
        raise CommandError("there is no answer yet")
    chat.asks_again = True
    return ""


def _attach(chat: Chat, text: str) -> str:
    if not text:
        raise CommandError("/image needs the path of a file")
    chat.conversation.parts.append(media_part(text.strip("'\"")))
    return "goes out with your next message"


def _leave(chat: Chat, _: str) -> str:
    chat.is_over = True
    return ""


@dataclass(frozen=True, slots=True)
class _Command:
    run: Callable[[Chat, str], str]
    help: str
    takes: str = ""


_COMMANDS: Final = {
    "/help": _Command(_help, "print this list"),
    "/clear": _Command(_clear, "forget the conversation"),
    "/system": _Command(_system, "set the system prompt, or print it; - for none", "[TEXT]"),
    "/model": _Command(_model, "continue with another model, or list all", "[NAME]"),
    "/set": _Command(
        _set,
        "set sampling (temperature 0.2), think on|off, schema FILE, speed on|off, or list all",
        "[NAME VALUE]",
    ),
    "/unset": _Command(_unset, "return to the model's default", "NAME"),
    "/regenerate": _Command(_regenerate, "answer the last message anew"),
    "/image": _Command(_attach, "send an image or audio file with the next message", "FILE"),
    "/save": _Command(_save, "save the conversation under a name, or to a file", "NAME"),
    "/load": _Command(_load, "continue a saved conversation", "NAME"),
    "/bye": _Command(_leave, "leave"),
}
_OTHER_NAMES: Final = {
    "/?": "/help",
    "/exit": "/bye",
    "/quit": "/bye",
    "/retry": "/regenerate",
    "/audio": "/image",
}
