"""A shop of three products that fits on a page, and goals for it."""

import json
from pathlib import Path
from typing import Any

from webshop_server.engine.catalogue import Catalogue
from webshop_server.engine.goal import Goal
from webshop_server.engine.importer import Sources, import_catalogue

SHOES: dict[str, Any] = {
    "asin": "B000000001",
    "name": "Alderway Trail Shoes",
    "full_description": "Light shoes for long walks.",
    "small_description": ["Rubber sole.", "Dries quickly."],
    "pricing": "$45.50",
    "customization_options": {"Color": [{"value": "Navy/Grey"}, {"value": "Red"}], "Size": [{"value": "8"}, {"value": "9.5"}]},
    "category": "fashion",
    "query": "Trail Shoes ",
    "product_category": "Shoes › Men › Trail",
    "images": ["shoes.svg"],
}
BOOTS = SHOES | {
    "asin": "B000000002",
    "name": "Alderway Winter Boots",
    "pricing": "$70.00 - $90.00",
    "customization_options": None,
}
TEA = {
    "asin": "B000000003",
    "name": "Fernleaf Green Tea",
    "query": "green tea",
    "category": "grocery",
    "product_category": "Grocery › Tea",
}
ATTRIBUTES: dict[str, Any] = {
    "B000000001": {
        "attributes": ["rubber sole", "quick drying"],
        "instruction": "Find me rubber sole trail shoes",
        "instruction_attributes": ["rubber sole"],
    },
    "B000000003": {"attributes": ["organic"], "instruction": "Find me organic green tea", "instruction_attributes": ["organic"]},
}
HUMAN: dict[str, Any] = {
    "B000000001": [
        {"instruction": "i need quick drying shoes.", "instruction_attributes": ["quick drying"], "instruction_options": ["red"]},
        {"instruction": "no attributes", "instruction_attributes": [], "instruction_options": []},
    ],
    "B000000003": [{"instruction": "organic tea please", "instruction_attributes": ["organic"], "instruction_options": []}],
}


def write_files(folder: Path, items: Any = None) -> Sources:
    """Write the three files of a data set."""
    contents = {"items": [SHOES, BOOTS, TEA] if items is None else items, "attributes": ATTRIBUTES, "human": HUMAN}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return Sources(items=folder / "items.json", attributes=folder / "attributes.json", human=folder / "human.json")


def small_catalogue(folder: Path) -> Catalogue:
    """Import the three products."""
    import_catalogue(write_files(folder), folder / "catalogue")
    return Catalogue(folder / "catalogue")


def goal(**changes: Any) -> Goal:
    """Return a goal for the shoes."""
    values: dict[str, Any] = {
        "asin": "B000000001",
        "category": "fashion",
        "query": "trail shoes",
        "name": "Alderway Trail Shoes",
        "product_category": "Shoes › Men › Trail",
        "instruction_text": "i need quick drying shoes in red",
        "attributes": ["quick drying"],
        "price_upper": 50.0,
        "goal_options": ["red"],
    }
    return Goal(**{**values, **changes})
