# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Sphinx configuration for Markdown pages (MyST), which are also readable in the repository."""

project = "policy_inference"
author = "The policy_inference authors"
copyright = "2026, The policy_inference authors"  # Sphinx's name for it
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
autodoc_member_order = "bysource"
napoleon_use_ivar = True
myst_heading_anchors = 6
# text diagrams and fictional shells have no lexer
suppress_warnings = ["misc.highlighting_failure"]
html_theme = "furo"
html_title = "policy_inference"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
