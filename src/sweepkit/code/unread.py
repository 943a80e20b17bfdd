"""Patches that git would not read, or would read in part, and why one does not apply; with the remedy.

Git says "no valid patches", "does not apply", or nothing at all, where an editor, a shell, a mail program or
an option of ``diff`` has written another form than it reads.
"""

from __future__ import annotations

import re
from pathlib import Path

from sweepkit.code import git
from sweepkit.code.git import GitError
from sweepkit.errors import invalid

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_ANEW = "write it with git diff --output=FILE"
#: What is found in one → what it is, and the remedy. Nothing of these is in a patch that git reads whole.
_FORMS = (
    (rb"\A\s*\Z", "an empty file", "write it anew, and check with git status that there is a change"),
    (rb"\A(?:\xff\xfe|\xfe\xff)", "a text in UTF-16, as some shells write what is printed", _ANEW),
    (rb"(?m)^\x1b\[", "what git shows in colours", _ANEW),
    (rb"(?im)^content-transfer-encoding: *(?:base64|quoted-printable)", "a mail that is encoded",
     "write it with git format-patch, not from a mail"),
    (rb"(?m)^\*{15}\r?$|^\d+(?:,\d+)?[acd]\d+(?:,\d+)?\r?\n[<>] ", "a diff in another form than unified",
     "write it with git diff, or diff -ruN OLD NEW"),
    (rb"(?m)^diff --git (\S+) \1\r?$", "a diff without the prefixes a/ and b/",
     "write it with git -c diff.noprefix=false diff"),
    (rb"(?m)^Only in [^:\n]*: (?!__pycache__|\.)", "a diff that leaves new or deleted files out",
     "write it with diff -ruN OLD NEW"),
)  # fmt: skip


def refuse(where: str, content: bytes) -> None:
    """Raises ConfigError for what git would not read as it is meant."""
    for pattern, what, remedy in _FORMS:
        if re.search(pattern, content):
            raise invalid(where, what, "be a patch that git reads as a whole", remedy)


def without_mark(content: bytes) -> bytes:
    """A patch without a byte-order mark, before which git passes over the first file."""
    return content.removeprefix(_BYTE_ORDER_MARK)


def reason(content: bytes, work: Path, *how: str) -> tuple[str, str] | None:
    """Why a patch does not apply to a tree, and the remedy; None where git's words say it.

    Args:
        how: options that it was tried with.
    """
    if _applies(content, work, "--reverse", *how):
        return "which has it already", "leave the level out, or freeze the reference without it"
    if _applies(content, work, "--ignore-whitespace", *how):
        if b"\r\n" in content:
            return (
                "which ends its lines in LF, where the patch has CRLF",
                "take the CR out (sed -i 's/\\r$//' FILE)",
            )
        return "which has other blanks or ends of lines (CRLF) there", _ANEW
    return None


def _applies(content: bytes, work: Path, *how: str) -> bool:
    try:
        git.run(work, "apply", "--check", *how, "-", given=content, ceiling=True)
    except GitError:
        return False
    return True
