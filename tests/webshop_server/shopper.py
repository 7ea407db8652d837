"""A shopper who reads pages as a browser without JavaScript does: by links, forms and the state block."""

import json
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.test import TestResponse


class Markup(HTMLParser):
    """What is in a page: the address of every link by its label, the actions of forms, and the texts of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.forms: list[dict[str, str | None]] = []
        self.labels: set[str] = set()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append((tag, values))
        self._in_script = tag == "script"
        label = values.get("data-click")
        if label is not None:
            self.labels.add(label)
            self.links.setdefault(label, values.get("href") or "")
        if tag == "form":
            self.forms.append(values)

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts.append(data)


class Shopper:
    """One visit, page by page.

    Args:
        app: The shop.
        goal: Number of the human goal.
    """

    def __init__(self, app: Flask, goal: int = 0) -> None:
        self.client = app.test_client()
        begun = self.client.post("/visits", data={"goals": "human", "goal": str(goal)})
        assert begun.status_code == 303
        self.open(begun.location)

    def open(self, address: str) -> None:
        """Load a page."""
        self.response: TestResponse = self.client.get(address)
        assert self.response.status_code == 200, (address, self.response.text)
        self.address = address
        self.markup = Markup(self.response.text)

    @property
    def state(self) -> dict[str, Any]:
        """What programs read of the page."""
        state: dict[str, Any] = json.loads(self.markup.scripts[0])
        return state

    @property
    def text(self) -> str:
        """The HTML."""
        return self.response.text

    @property
    def place(self) -> str:
        """The address of the page without what was asked of it."""
        return f"/s/{self.address.split('/')[2]}/{self.state['step']}"

    def search(self, words: str) -> "Shopper":
        """Send the form of the search."""
        (form,) = [form for form in self.markup.forms if form.get("role") == "search"]
        self.open(f"{form['action']}?{urlencode({'q': words})}")
        return self

    def click(self, *labels: str) -> "Shopper":
        """Follow links."""
        for label in labels:
            self.open(self.markup.links[label])
        return self

    def buy(self) -> "Shopper":
        """Send the form of the purchase."""
        (form,) = [form for form in self.markup.forms if form.get("method") == "post"]
        bought = self.client.post(str(form["action"]))
        assert bought.status_code == 303
        self.open(bought.location)
        return self

    def act(self, action: str) -> "Shopper":
        """Do what an action of the environment says."""
        name, _, argument = action.partition("[")
        argument = argument.removesuffix("]")
        if name == "search":
            return self.search(argument)
        return self.buy() if argument.lower() == "buy now" else self.click(argument.lower())
