"""The library's own definitions, copied: everything that some of them reach, module by module, as it is written.

Given a name of a module of plainlearn, its statement there is found in the source, then those of the names that it
uses, and so on. Only three things are not as they were: imports of plainlearn are gone, because all stands in one file; a
module that is used by its name (`geometry.fit`) becomes a namespace of what is used of it; and classes that are only
mentioned, in annotations, are `Any`.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import symtable
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Final, NamedTuple

from plainlearn.core.errors import ArgumentError
from plainlearn.eject.text import WIDTH, call, import_lines, laid_out

_PACKAGE: Final = __name__.partition(".")[0]
_TYPE: Final = re.compile(r"[\w.]*[A-Z]\w*(\[[\w\[\]., |]*\])?( \| [\w.\[\], ]+)*")


class Link(NamedTuple):
    """Where a name of this package comes from; an empty `name` is the module itself."""

    module: str
    name: str


@dataclass(frozen=True)
class Statement:
    """A statement at the top of a module, with the comments above it, and what it uses from outside of itself.

    `needs` are the names that are looked up when it runs, `mentions` those that only annotations have. `links` are its own
    imports of this package, which its text does without; `attributes` what it takes of each name, as in `geometry.fit`,
    unless it takes all.
    """

    text: str
    binds: tuple[str, ...]
    line: int
    is_value: bool
    needs: frozenset[str]
    mentions: frozenset[str]
    links: Mapping[str, Link]
    attributes: Mapping[str, frozenset[str]]


@dataclass(frozen=True)
class Module:
    """The statements of a module by the names that they bind, and its imports: of this package, and of others."""

    name: str
    says: str
    statements: Mapping[str, Statement]
    links: Mapping[str, Link]
    imports: Mapping[str, str]


@cache
def module_of(name: str) -> Module:
    """The module, read from its source."""
    source = inspect.getsource(import_module(name))
    tree, lines = ast.parse(source), source.splitlines()
    statements: dict[str, Statement] = {}
    links: dict[str, Link] = {}
    imports: dict[str, str] = {}
    for place, node in enumerate(tree.body):
        # Of the conditions at the top of a module, those around imports are for type checkers.
        inner = node.body if isinstance(node, ast.If) else [node]
        found = [each for each in inner if isinstance(each, (ast.Import, ast.ImportFrom))]
        if len(found) == len(inner):
            for each in found:
                links |= _links(each)
                imports |= _imports(each)
        elif names := bound_names(node):
            statements |= dict.fromkeys(names, _statement(node, tree.body[place + 1 :], lines))
    says = (ast.get_docstring(tree) or "").partition("\n")[0]
    return Module(name, says, statements, links, imports)


def _is_ours(module: str | None) -> bool:
    return (module or "").partition(".")[0] == _PACKAGE


def _links(node: ast.Import | ast.ImportFrom) -> dict[str, Link]:
    """What an import brings of this package, by the name it gives to it."""
    if not isinstance(node, ast.ImportFrom) or not _is_ours(node.module):
        return {}
    module = str(node.module)
    inside = hasattr(import_module(module), "__path__")  # modules, in a package
    return {
        alias.asname or alias.name: Link(f"{module}.{alias.name}", "")
        if inside and find_spec(f"{module}.{alias.name}")
        else Link(module, alias.name)
        for alias in node.names
    }


def _imports(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """What it brings of others, likewise, as a line each."""
    module = node.module if isinstance(node, ast.ImportFrom) else None
    if _is_ours(module) or module == "__future__":
        return {}
    before = f"from {module} import" if module else "import"
    return {
        (alias.asname or alias.name).partition(".")[0]: f"{before} {ast.unparse(alias)}"
        for alias in node.names
    }


def bound_names(node: ast.AST) -> list[str]:
    """The names that a statement binds where it stands."""
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return [node.name]
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return [alias.asname or alias.name for alias in node.names]
    targets = [getattr(node, "target", None), *getattr(node, "targets", ())]
    inside = [each for target in targets if target is not None for each in ast.walk(target)]
    names = [each.id for each in inside if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)]
    within = [each for each in ast.iter_child_nodes(node) if isinstance(each, (ast.stmt, ast.excepthandler))]
    return names + [name for each in within for name in bound_names(each)]


# ---- one statement


def _statement(node: ast.stmt, following: list[ast.stmt], lines: list[str]) -> Statement:
    first, last = node.lineno - 1, node.end_lineno or node.lineno
    first = min([first, *(each.lineno - 1 for each in getattr(node, "decorator_list", []))])
    while first and lines[first - 1].startswith("#") and "pyright:" not in lines[first - 1]:
        first -= 1
    if isinstance(node, (ast.Assign, ast.AnnAssign)) and following and _is_text(following[0]):
        last = following[0].end_lineno or last  # what a constant says of itself
    inner = [
        each for each in ast.walk(node) if isinstance(each, (ast.Import, ast.ImportFrom)) and _links(each)
    ]
    text = "\n".join(_without(inner, lines, first, last))
    links = {name: link for each in inner for name, link in _links(each).items()}
    needs = outer_names(f"from __future__ import annotations\n{text}")
    mentions = outer_names(text) | set(_in_quoted_types(node))
    attributes: defaultdict[str, list[str]] = defaultdict(list)
    for each in ast.walk(node):
        if isinstance(each, ast.Attribute) and isinstance(each.value, ast.Name):
            attributes[each.value.id].append(each.attr)
    used = Counter(each.id for each in ast.walk(node) if isinstance(each, ast.Name))
    binds = tuple(bound_names(node))
    own = {*binds, *dir(builtins)}
    return Statement(
        text,
        binds,
        node.lineno,
        not isinstance(node, (ast.FunctionDef, ast.ClassDef)),
        frozenset(needs - own),
        frozenset(mentions - needs - own),
        links,
        {name: frozenset(those) for name, those in attributes.items() if len(those) == used[name]},
    )


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _without(imports: Iterable[ast.stmt], lines: list[str], first: int, last: int) -> Iterator[str]:
    """The lines without these imports, nor the empty line behind one that would now be of no use."""
    gone = {number for each in imports for number in range(each.lineno - 1, each.end_lineno or each.lineno)}
    before = ""
    for number in range(first, last):
        useless = not lines[number] and number - 1 in gone and (not before or before.endswith(":"))
        if number not in gone and not useless:
            before = lines[number]
            yield before


def outer_names(text: str) -> set[str]:
    """The names that the code looks up outside of itself."""
    found: set[str] = set()
    waiting = [symtable.symtable(text, "", "exec")]
    while waiting:
        table = waiting.pop()
        waiting += table.get_children()
        top = table.get_type() == "module"
        found |= {
            each.get_name()
            for each in table.get_symbols()
            if each.is_referenced() and (top or each.is_global())
        }
    return found


def _in_quoted_types(node: ast.AST) -> Iterator[str]:
    """The names in types that are written as text, as in `cast("Sequence[Any]", x)`: what reads so, and has capitals."""
    for each in ast.walk(node):
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and _TYPE.fullmatch(each.value):
            yield from re.findall(r"\b[A-Z]\w*", each.value)


# ---- all that some reach


@dataclass
class Library:
    """The definitions that were needed so far. `left_out` says of modules why a script can do without them.

    Those of the module `apart` belong into a file of their own, which has the others beside it.
    """

    apart: str
    left_out: Mapping[str, str]
    #: The statements that were taken of each module, by line, and the modules that each module uses.
    _taken: dict[str, dict[int, Statement]] = field(default_factory=dict[str, dict[int, Statement]])
    _uses: dict[str, dict[str, None]] = field(default_factory=dict[str, dict[str, None]])
    #: What stands in front of a module's statements, and behind: modules as namespaces.
    _aliases: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    _spaces: dict[Link, set[str]] = field(default_factory=dict[Link, set[str]])
    #: Each name with what it means, for all stands in one file; what is imported; what is only mentioned.
    names: dict[str, str] = field(default_factory=dict[str, str])
    imports: dict[str, str] = field(default_factory=dict[str, str])
    _mentioned: dict[str, None] = field(default_factory=dict[str, None])

    def need(self, module: str, name: str) -> None:
        """Take what `name` is in `module`, and all that it reaches."""
        home = module_of(module)
        statement = home.statements.get(name)
        if statement is None:
            self._reach(home, name)
            return
        taken = self._taken.setdefault(module, {})
        if statement.line in taken:
            return
        taken[statement.line] = statement
        if module != self.apart:
            for each in statement.binds:
                self._claim(each, statement.text)
        for each in sorted(statement.needs):
            self._reach(home, each, statement)
        for each in sorted(statement.mentions & {*home.statements, *home.links, *home.imports}):
            self._mention(home, each)

    def _claim(self, name: str, meaning: str) -> None:
        """Raise `ArgumentError` where a name means two things."""
        if self.names.setdefault(name, meaning) != meaning:
            raise ArgumentError(
                f"{name} is {self.names[name]!r} in one module and {meaning!r} in another, and a script has both",
                try_="another name for one of them",
            )

    def _reach(self, home: Module, name: str, user: Statement | None = None) -> None:
        """Take what `name` is in a module, of which `user` is a statement that uses it."""
        link = (user.links.get(name) if user else None) or home.links.get(name)
        if name in home.statements:
            self.need(home.name, name)
        elif link is None:
            if self.imports.setdefault(name, home.imports[name]) != home.imports[name]:
                self._claim(name, home.imports[name])
        elif link.module in self.left_out:
            why, is_class = self.left_out[link.module], link.name[:1].isupper()
            text = (
                f'class {name}(Any):\n    """Left out: {why}."""'
                if is_class
                else f"{name}: Any = None  # left out: {why}"
            )
            self._aliases.setdefault(home.name, {})[name] = text
        else:
            self._uses.setdefault(home.name, {})[link.module] = None
            if link.name:
                self.need(*link)
                if link.name != name:
                    self._claim(name, f"{name} = {link.name}")
                    self._aliases.setdefault(home.name, {})[name] = f"{name} = {link.name}"
                return
            self._claim(name, link.module)
            some = user.attributes.get(name) if user else None
            if some is None:
                module = module_of(link.module)
                some = {*module.statements, *(each for each, of in module.links.items() if of.name)}
            self._spaces.setdefault(Link(link.module, name), set()).update(some)
            for each in sorted(some):
                self.need(link.module, each)

    def _mention(self, home: Module, name: str) -> None:
        """As `_reach`, for what only annotations have: aliases of types are taken, but no class."""
        within = home
        while name not in within.statements and (link := within.links.get(name)) and link.name:
            within, name = module_of(link.module), link.name
        statement = within.statements.get(name)
        if statement is None or statement.is_value or home.name == self.apart:
            self._uses.setdefault(home.name, {})[within.name] = None
            self._reach(within, name)
        else:
            self._mentioned[name] = None

    def taken(self, module: str) -> list[Statement]:
        """The statements of a module that were needed, in their order."""
        return [statement for _, statement in sorted(self._taken.get(module, {}).items())]

    def text(self, says: str) -> str:
        """All that does not stand `apart` as one file that begins with the docstring `says`."""
        order: dict[str, None] = {}
        for module in self._taken:
            self._put(module, order)
        order.pop(self.apart, None)
        mentioned = sorted(name for name in self._mentioned if name not in self.names)
        names = {
            name for module in order for each in self.taken(module) for name in each.needs | each.mentions
        }
        lines = {self.imports[name] for name in names if name in self.imports}
        lines |= {"from typing import Any"} if mentioned or self._aliases else set()
        lines |= {"from types import ModuleType"} if self._spaces else set()
        head = [
            f'"""{says}"""',
            "# ruff: noqa: F402 (what one module imports another may call a variable)",
            "from __future__ import annotations",
            import_lines(lines),
        ]
        if mentioned:
            head.append("# Classes that are mentioned in annotations, and not used.")
            head[-1] += "".join(f"\n{name} = Any" for name in mentioned)
        said: set[str] = set()
        pieces = [piece for module in order for piece in self._section(module, said)]
        return "\n\n".join(head) + laid_out(pieces) + "\n"

    def _put(self, module: str, order: dict[str, None]) -> None:
        """What a module uses stands above it, as it does when modules are imported, which is never in a circle."""
        for each in self._uses.get(module, {}):
            if each not in order and each != module:
                self._put(each, order)
        order[module] = None

    def _section(self, module: str, said: set[str]) -> Iterator[str]:
        """The definitions of a module, but for those constants that another one had `said` in the same words."""
        heading = textwrap.wrap(f"---- {module}: {module_of(module).says}", WIDTH - 2)
        before = "".join(f"# {line}\n" for line in heading)
        for text in [*self._aliases.get(module, {}).values(), *(each.text for each in self.taken(module))]:
            if text not in said:
                yield before + text
                said.add(text)
                before = ""
        for link, names in self._spaces.items():
            if link.module == module:
                filled = call(f"vars({link.name}).update", [f"{name}={name}" for name in sorted(names)])
                yield f'{link.name} = ModuleType("{link.name}")\n{filled}'
