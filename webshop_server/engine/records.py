"""From the entries of WebShop's files to a listing."""

from collections.abc import Sequence
from typing import Any, TypeGuard

from webshop_server.engine.listing import Instruction, Listing
from webshop_server.engine.product import Repairs, product_from_record


def listing_from_records(record: Any, extra: Any, human: Any, repairs: Repairs) -> Listing:
    """Put together what three files say about a product.

    Args:
        record: Its element of ``items_shuffle.json``.
        extra: Its entry in ``items_ins_v2.json``, or ``None``.
        human: Its entry in ``items_human_ins.json``, or ``None``.
        repairs: Counts what had to be mended.

    Raises:
        BadProduct: The record cannot become a product.
    """
    known = extra.get("attributes") if isinstance(extra, dict) else None
    product = product_from_record(record, known if is_texts(known) else None, repairs)
    entries = human if isinstance(human, list) else []
    instructions = [instruction for entry in entries if (instruction := _human_instruction(entry)) is not None]
    return Listing(product=product, human=instructions, synthetic=_synthetic_instruction(extra))


def is_texts(value: Any) -> TypeGuard[Sequence[str]]:
    """Return whether a value is a list of strings."""
    return isinstance(value, list | tuple) and all(isinstance(text, str) for text in value)


def _human_instruction(entry: Any) -> Instruction | None:
    if not isinstance(entry, dict) or not isinstance(entry.get("instruction"), str):
        return None
    attributes, options = entry.get("instruction_attributes"), entry.get("instruction_options")
    if not is_texts(attributes):
        return None
    return Instruction(text=entry["instruction"], attributes=attributes, options=options if is_texts(options) else [])


def _synthetic_instruction(extra: Any) -> Instruction | None:
    if not isinstance(extra, dict) or not isinstance(extra.get("instruction"), str):
        return None
    attributes = extra.get("instruction_attributes")
    return Instruction(text=extra["instruction"], attributes=attributes) if is_texts(attributes) else None
