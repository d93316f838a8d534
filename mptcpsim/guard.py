"""Plug-ins of the user's are watched: what a hook raises, returns or leaves behind is judged where it enters.

``guarded`` makes of a user's class one that does the same and judges it. Its objects are of the user's
class, and no other object pays for it: the package's own plug-ins stay as they are. What is judged is
declared for each base class (``declare``; ``scenario.plugin_checks`` does it). Interpreted and compiled code
say the same, because nothing wrong gets as far as a typed boundary.
"""

from __future__ import annotations

import linecache
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from traceback import walk_stack, walk_tb
from types import MappingProxyType, TracebackType
from typing import Any, Final, NamedTuple

#: The file of a class of the user's, for one that has no code of its own.
_files: Final[dict[type, str]] = {}

_PACKAGE: Final = str(Path(__file__).resolve().parent)

#: Says what a hook may return, if what it returned is something else, by the plug-in and the arguments.
Check = Callable[[Any, Any, tuple[Any, ...]], str]
#: Says what may be assigned to an attribute, if the value is something else.
AttributeCheck = Callable[[Any], str]


class PluginFailure(RuntimeError):
    """A plug-in of the user's did what none may do: file and line, the hook, what it did, what is allowed."""


class Endless(BaseException):
    """A hook does not return; not an ``Exception``, so that a plug-in does not catch it by the way."""


class Call(NamedTuple):
    """A method that a plug-in calls: the names of its arguments, and what is wrong with some, if it is."""

    names: tuple[str, ...]
    judge: Callable[[Any, dict[str, Any]], str]
    #: The argument that is called back: another hook.
    callback: str = ""


class Spec(NamedTuple):
    """What is judged of a kind of plug-in.

    Attributes:
        hooks: the methods that the simulator calls, and what they may return.
        attributes: that the simulator reads, and what may be assigned to them.
        needs: attributes that there are when ``__init__`` of the base class was called.
        state: what a hook may change, and ``changed`` says what is wrong with it then (empty: nothing).
        calls: the methods that a plug-in calls.
        copied: hooks that get a list of their own as the first argument, which they may change.
    """

    hooks: Mapping[str, Check | None]
    attributes: Mapping[str, AttributeCheck] = MappingProxyType({})
    needs: tuple[str, ...] = ()
    state: Callable[[Any], Any] | None = None
    changed: Callable[[Any, str, Any], str] | None = None
    calls: Mapping[str, Call] = MappingProxyType({})
    copied: tuple[str, ...] = ()


class Running(NamedTuple):
    """A hook that has been called and has not returned."""

    plugin: Any
    hook: str
    number: int


_specs: dict[type, Spec] = {}
_guarded: dict[type, type] = {}
#: What is no fault of a plug-in, though it comes by its hook.
_passing: list[type[BaseException]] = [PluginFailure]
#: The hooks that are being called, the innermost one last.
running: list[Running] = []
_calls = 0


def declare(base: type, spec: Spec) -> None:
    """Say what is judged of the plug-ins derived from a base class."""
    _specs[base] = spec


def let_pass(*kinds: type[BaseException]) -> None:
    """Say which exceptions tell of something else than of the plug-in by whose hook they come."""
    _passing.extend(kinds)


def any_guarded() -> bool:
    """Return whether this process has made plug-ins of the user's."""
    return bool(_guarded)


def remember_file(cls: type, file: str) -> None:
    """Note the file of a class of the user's."""
    _files[cls] = file


def guarded(cls: Any) -> Any:
    """Return a class that does what a user's class does, and is watched; the package's own as they are."""
    if cls.__module__.partition(".")[0] == "mptcpsim":
        return cls
    found = _guarded.get(cls)
    if found is None:
        found = _guarded[cls] = _watched(cls)
    return found


def failure(
    plugin: Any, hook: str, what: str, trace: TracebackType | None = None, now: bool = False
) -> PluginFailure:
    """Return the error that blames a hook of a plug-in.

    Args:
        plugin: the object.
        hook: the name of its method.
        what: what that did.
        trace: where it did so; else the beginning of the method is named.
        now: it does so at this moment.
    """
    cls = type(plugin)
    code = getattr(_function(cls, hook), "__code__", None) or _any_code(cls)
    file, line = (code.co_filename, code.co_firstlineno) if code is not None else _written(cls)
    places = list(walk_tb(trace)) or (list(walk_stack(sys._getframe()))[::-1] if now else [])
    for frame, number in places:
        if frame.f_code.co_filename == file:
            line = number
    return PluginFailure(f"{file}: line {line}: {cls.FAMILY} {cls.NAME!r}: {hook} {what}; mend the plug-in")


def _function(cls: type, hook: str) -> Any:
    """Return the user's own function for a hook, in the order of inheritance; None: there is none."""
    for base in cls.__mro__:
        found = vars(base).get(hook)
        if _is_own(getattr(found, "__code__", None)):
            return found
    return None


def _any_code(cls: type) -> Any:
    codes = [getattr(value, "__code__", None) for base in cls.__mro__ for value in vars(base).values()]
    own: list[Any] = [code for code in codes if _is_own(code)]
    return min(own, key=lambda code: code.co_firstlineno, default=None)


def _written(cls: type) -> tuple[str, int]:
    """Return the file of a class without a method, and its line (1: its text is not at hand)."""
    own = next((base for base in cls.__mro__ if base in _files), None)
    if own is None:
        return cls.__module__, 1
    begins = re.compile(rf"\s*class\s+{re.escape(own.__name__)}\b")
    lines = enumerate(linecache.getlines(_files[own]), 1)
    return _files[own], next((number for number, text in lines if begins.match(text)), 1)


def _is_own(code: Any) -> bool:
    return code is not None and not code.co_filename.startswith(_PACKAGE)


def _watched(cls: type) -> type:
    specs = [_specs[base] for base in cls.__mro__ if base in _specs]
    body: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    needs = tuple(name for spec in specs for name in spec.needs)
    body["__init__"] = _hook(cls, "__init__", None, Spec({}, needs=needs))
    body["configure"] = _hook(cls, "configure", None, Spec({}))
    for spec in specs:
        for name, check in spec.hooks.items():
            body[name] = _hook(cls, name, check, spec)
        for name, attribute in spec.attributes.items():
            body[name] = _attribute(cls, name, attribute)
        for name, call in spec.calls.items():
            body[name] = _call(cls, name, call)
    return type(cls.__name__, (cls,), body)


def _hook(cls: Any, name: str, check: Check | None, spec: Spec) -> Callable[..., Any]:
    function = getattr(cls, name)
    missing = _function(cls, name) is None
    state, changed, copied = spec.state, spec.changed, name in spec.copied

    def hook(self: Any, *args: Any, **named: Any) -> Any:
        before = state(self) if state is not None else None
        given = (self, list(args[0]), *args[1:]) if copied else (self, *args)
        result = call_hook(self, name, function, given, named, missing)
        wrong = check(self, result, args) if check is not None else "None" if result is not None else ""
        if wrong:
            raise failure(self, name, f"returned {shown(result)}; allowed is {wrong}")
        if changed is not None and (wrong := changed(self, name, before)):
            raise failure(self, name, wrong)
        for need in spec.needs:
            if not hasattr(self, need):
                raise failure(self, name, "does not call super().__init__()")
        return result

    return hook


def begin(plugin: Any, hook: str) -> None:
    """Note that something of the user's is called; whoever says so takes it from ``running`` afterwards."""
    global _calls
    _calls += 1
    running.append(Running(plugin, hook, _calls))


def call_hook(
    plugin: Any,
    hook: str,
    function: Callable[..., Any],
    args: tuple[Any, ...] = (),
    named: dict[str, Any] | None = None,
    missing: bool = False,
) -> Any:
    """Call what is a user's, and say of whatever it raises who did so."""
    begin(plugin, hook)
    try:
        return function(*args, **(named or {}))
    except tuple(_passing):
        raise
    except Endless as error:
        raise failure(plugin, hook, "does not return", error.__traceback__) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        if missing and isinstance(error, NotImplementedError):
            raise failure(plugin, hook, "is not there: define it") from None
        if hook in ("__init__", "configure") and isinstance(error, ValueError):
            raise  # what the plug-in says of its parameters
        text = f"raised {type(error).__name__}: {error}".rstrip(": ")
        raise failure(plugin, hook, text, error.__traceback__) from error
    finally:
        running.pop()


def _attribute(cls: type, name: str, check: AttributeCheck) -> property:
    """Return a property in front of an attribute of a base class, which may be a compiled one."""
    found = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    below = next((item for item in found if hasattr(item, "__set__")), None)

    def get(self: Any) -> Any:
        if below is not None:
            return below.__get__(self, type(self))
        try:
            return vars(self)[name]
        except KeyError:
            if found:
                return found[0]
            raise AttributeError(name) from None

    def put(self: Any, value: Any) -> None:
        if wrong := check(value):
            hook = running[-1].hook if running else "it"
            raise failure(self, hook, f"sets {name} to {shown(value)}; allowed is {wrong}", now=True)
        if below is not None:
            below.__set__(self, value)
        else:
            vars(self)[name] = value

    return property(get, put)


def _call(cls: Any, name: str, call: Call) -> Callable[..., Any]:
    function = getattr(cls, name)

    def method(self: Any, *args: Any, **named: Any) -> Any:
        given = dict(zip(call.names, args, strict=False)) | named
        if set(given) == set(call.names):
            if wrong := call.judge(self, given):
                hook = running[-1].hook if running else name
                raise failure(self, hook, f"calls {name} with {wrong}", now=True)
            if call.callback:
                back = given[call.callback]
                title = getattr(back, "__name__", "a callback")
                given[call.callback] = partial(call_hook, self, title, back)
        return function(self, **given) if set(given) == set(call.names) else function(self, *args, **named)

    return method


def shown(value: Any) -> str:
    """Return a value in a line, and its type where that does not tell itself."""
    try:
        text = repr(value)
    except Exception as error:
        text = f"something whose repr raises {type(error).__name__}"
    text = " ".join(text.split())
    text = text if len(text) <= 80 else f"{text[:80]}..."
    plain = value is None or isinstance(value, bool | int | float | str | list | tuple | dict)
    return text if plain else f"{text} ({type(value).__name__})"
