"""Code in README.md, in docs/ and in docstrings runs as tests."""

from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser
from sybil.parsers.rest import DocTestParser

_pages = Sybil(parsers=[PythonCodeBlockParser()], patterns=["README.md", "docs/**/*.md"])
_docstrings = Sybil(parsers=[DocTestParser()], patterns=["mise_gym/**/*.py", "webshop_server/**/*.py"])

pytest_collect_file = (_pages + _docstrings).pytest()
