# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Build the documentation site in out/docs.

    python -m tools.docs    # needs .venv-docs, which `make docs` creates

The site consists of docs/, README.md and the other top-level pages, and pages generated from the
code. Sphinx converts all of them to HTML. Warnings, such as a broken link or a page missing from
the index, are treated as errors. Old page names redirect to the new ones (docs/redirects.txt). No
network is used.
"""
# run: needs: docs
# run: swap: {python: .venv-docs/bin/python}

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tools.arguments import refuse_arguments
from tools.docs.reference import ROOT, write_reference

DOCS, OUTPUT = ROOT / "docs", ROOT / "out" / "docs"
_LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")
_SECTION = re.compile(r"```\{toctree\}\n:caption: (.+)\n:maxdepth: 1\n\n((?:.+\n)+)```\n")
REDIRECTS = DOCS / "redirects.txt"
"""Pages that have moved: old and new names, one `old.md new.md` per line."""
_MOVED = """<!DOCTYPE html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={0}">
<title>This page has moved</title>
<a href="{0}">This page has moved.</a>
"""
BESIDE = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
"""Pages outside docs/ that are part of the site."""


def write_sources(folder: Path) -> None:
    """Write all pages into a new folder, and adapt their links.

    A link to a file that is not a page is replaced by its text and the file's path.
    """
    shutil.copytree(DOCS, folder, ignore=shutil.ignore_patterns(REDIRECTS.name))
    for name in BESIDE:
        text = (ROOT / name).read_text("utf-8").replace("](docs/", "](")
        (folder / name).write_text(text, "utf-8")
    for page in folder.glob("*.md"):
        home = ROOT if page.name in BESIDE else DOCS
        text = page.read_text("utf-8")
        if page.name == "index.md":
            text = re.sub(r"^(.*<)?\.\./(\w+>?)$", r"\1\2", text, flags=re.MULTILINE)
            text = _with_sections(text, folder)
        page.write_text(_with_links(text, home, folder), "utf-8")


def _with_sections(index: str, folder: Path) -> str:
    """Return the index with one entry per section, for menus, and write a page per section."""
    sections = list[str]()
    for caption, entries in _SECTION.findall(index):
        sections.append(caption.lower().replace(" ", "_"))
        page = f"# {caption}\n\n```{{toctree}}\n:maxdepth: 1\n\n{entries}```\n"
        (folder / f"{sections[-1]}.md").write_text(page, "utf-8")
    menu = "\n".join(sections)
    return f"{_SECTION.sub('', index).rstrip()}\n\n```{{toctree}}\n:hidden:\n\n{menu}\n```\n"


def _with_links(page: str, home: Path, folder: Path) -> str:
    return _LINK.sub(lambda link: _link(link, home, folder), page)


def _link(link: re.Match[str], home: Path, folder: Path) -> str:
    text, name, anchor = link[1], link[2], link[3] or ""
    if not name or (folder / name).is_file():
        return link[0]
    if Path(name).name in BESIDE and (home / name).resolve().parent == ROOT:
        return f"[{text}]({Path(name).name}{anchor})"
    target = (home / name).resolve()
    if not target.exists():
        return link[0]  # Sphinx reports it
    return f"{text} (`{target.relative_to(ROOT)}`)"


def write_redirects(site: Path) -> None:
    """Write under each old name a page that redirects to the new name."""
    for line in REDIRECTS.read_text("utf-8").splitlines():
        old, new = line.replace(".md", ".html").split()
        (site / old).write_text(_MOVED.format(new), "utf-8")


def main() -> int:
    """Build the site; return the exit status."""
    refuse_arguments("tools.docs", __doc__)
    shutil.rmtree(OUTPUT, ignore_errors=True)
    OUTPUT.mkdir(parents=True)
    sources = OUTPUT / "source"
    write_sources(sources)
    write_reference(sources / "reference")
    words = ["-W", "--keep-going", "-q", "-b", "html", "-c", str(Path(__file__).parent)]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *words, str(sources), str(OUTPUT / "html")], check=False
    )
    if done.returncode == 0:
        write_redirects(OUTPUT / "html")
        sys.stdout.write(f"{OUTPUT / 'html' / 'index.html'}\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
