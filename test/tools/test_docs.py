# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The documentation site: sources with links that hold there."""

from __future__ import annotations

from pathlib import Path

from tools.docs.__main__ import DOCS, REDIRECTS, write_redirects, write_sources


def test_pages_beside_the_folder_are_part_of_the_site_and_files_are_named(tmp_path: Path) -> None:
    write_sources(tmp_path / "source")
    index = (tmp_path / "source" / "index.md").read_text("utf-8")
    assert "[What works today](README.md#what-works-today)" in index
    assert index.count("toctree") == 1
    start = (tmp_path / "source" / "start.md").read_text("utf-8")
    assert "What it is <README>" in start
    readme = (tmp_path / "source" / "README.md").read_text("utf-8")
    assert "](docs/" not in readme
    assert "](images/lite3_walk.webp)" in readme
    service = (tmp_path / "source" / "service.md").read_text("utf-8")
    assert "README (`src/policy_client_cpp/README.md`)" in service


def test_an_old_name_leads_to_the_page_that_replaced_it(tmp_path: Path) -> None:
    write_redirects(tmp_path)
    for line in REDIRECTS.read_text("utf-8").splitlines():
        old, new = line.split()
        assert not (DOCS / old).exists(), old
        assert (DOCS / new.partition("#")[0]).is_file(), new
        page = (tmp_path / old).with_suffix(".html").read_text("utf-8")
        assert f'content="0; url={new.replace(".md", ".html")}"' in page
