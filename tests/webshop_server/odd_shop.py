"""A shop whose products have hostile and awkward texts."""

from pathlib import Path
from typing import Any

from tests.webshop_server.small_shop import SHOES, write_files
from webshop_server.engine.importer import import_catalogue

SCRIPT = "</script><script>alert(1)</script>"
ODD: dict[str, Any] = SHOES | {
    "asin": 'B/0?#&"<1',
    "name": f"Odd shoes {SCRIPT} \ud800 ${{x}} `{{{{ 7*7 }}}}`",
    "full_description": f"{SCRIPT}<img src=x onerror=alert(1)>",
    "small_description": [SCRIPT, ""],
    "customization_options": {
        "Color": [{"value": "Red"}, {"value": "a [b]"}, {"value": "description"}, {"value": "'\"><b>"}, {"value": "x\ny"}],
        "Trim": [{"value": "Red"}, {"value": "\ud800"}],
        "Empty": [],
    },
    "product_category": SCRIPT,
}
PLAIN = SHOES | {"asin": "B000000009", "name": "", "customization_options": None, "pricing": "$1,299.00 - $2,000.00"}


def odd_catalogue(folder: Path) -> Path:
    """Import the shoes that the goals are for, and products that a careless page would choke on."""
    import_catalogue(write_files(folder, [SHOES, ODD, PLAIN]), folder / "catalogue")
    return folder / "catalogue"
