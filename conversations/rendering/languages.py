"""The languages that are coloured, and how Pygments' token types become the page's few classes.

A named list, not all of Pygments: every lexer here has been timed on hostile text.
"""

from functools import lru_cache

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import Comment, Generic, Keyword, Literal, Name, Number, Operator, String, _TokenType

_LISTED = (
    "python javascript typescript jsx tsx json yaml toml ini html xml css scss less bash console powershell batch c "
    "cpp csharp java kotlin scala swift go rust ruby php perl lua r julia matlab haskell elixir erlang clojure dart "
    "sql mysql graphql docker make cmake nginx terraform diff latex groovy objective-c nasm protobuf "
    "fsharp ocaml zig nim solidity vue pycon"
)
LANGUAGES = frozenset(_LISTED.split())
_STARRED = "c cpp csharp java javascript typescript jsx tsx kotlin scala swift go rust php dart groovy css scss less"
_HAS_STARRED_COMMENTS = frozenset(_STARRED.split())
_SLOW = frozenset({"java", "csharp", "groovy", "terraform"})  # their patterns run across lines
_ALIASES = {
    "py": "python", "python3": "python", "js": "javascript", "mjs": "javascript", "node": "javascript",
    "ts": "typescript", "jsonc": "json", "json5": "javascript", "jsonl": "json", "yml": "yaml", "cfg": "ini",
    "conf": "ini", "htm": "html", "xhtml": "html", "svelte": "html", "svg": "xml", "sass": "scss", "sh": "bash",
    "shell": "bash", "zsh": "bash", "shell-session": "console", "terminal": "console", "ps1": "powershell",
    "pwsh": "powershell", "bat": "batch", "cmd": "batch", "h": "c", "c++": "cpp", "hpp": "cpp", "cc": "cpp",
    "c#": "csharp", "cs": "csharp", "kt": "kotlin", "golang": "go", "rs": "rust", "rb": "ruby", "pl": "perl",
    "jl": "julia", "hs": "haskell", "ex": "elixir", "erl": "erlang", "clj": "clojure",
    "psql": "sql", "postgresql": "sql", "postgres": "sql",
    "sqlite": "sql", "gql": "graphql", "dockerfile": "docker", "makefile": "make", "tf": "terraform",
    "hcl": "terraform", "patch": "diff", "tex": "latex", "gradle": "groovy", "objc": "objective-c", "asm": "nasm",
    "proto": "protobuf", "fs": "fsharp", "f#": "fsharp", "ml": "ocaml", "sol": "solidity",
}  # fmt: skip

_CLASSES: dict[_TokenType, str] = {
    Keyword: "k",
    Keyword.Type: "t",
    Keyword.Constant: "m",
    Operator.Word: "k",
    Name.Tag: "k",
    Name.Function: "f",
    Name.Decorator: "f",
    Name.Class: "t",
    Name.Exception: "t",
    Name.Namespace: "t",
    Name.Builtin: "f",
    Name.Builtin.Pseudo: "m",
    Name.Attribute: "t",
    Literal: "s",
    String: "s",
    Number: "m",
    Comment: "c",
    Comment.Preproc: "k",
    Generic.Deleted: "gd",
    Generic.Inserted: "gi",
    Generic.Heading: "k",
    Generic.Subheading: "k",
    Generic.Prompt: "c",
}


def has_starred_comments(lexer: Lexer) -> bool:
    """True where `/*` begins a comment that may go on over lines."""
    return not _HAS_STARRED_COMMENTS.isdisjoint(lexer.aliases)


def is_slow(language: str) -> bool:
    """True for lexers whose cost for hostile text grows with its square."""
    return _name(language) in _SLOW


def _name(language: str) -> str:
    return _ALIASES.get(language.lower(), language.lower())


@lru_cache(maxsize=128)
def find_lexer(language: str) -> Lexer | None:
    """The lexer for a fence's language, or None when it stays plain."""
    name = _name(language)
    return get_lexer_by_name(name, stripnl=False, ensurenl=False) if name in LANGUAGES else None


@lru_cache(maxsize=512)
def class_of(token: _TokenType) -> str:
    """The page's class for a token type, by its nearest known ancestor; "" for plain text."""
    for kind in reversed(token.split()):
        if kind in _CLASSES:
            return _CLASSES[kind]
    return ""
