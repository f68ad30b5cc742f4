"""Which column of a Parquet file is which."""

from __future__ import annotations

import pyarrow as pa

from potstill.config import RequestError, Settings
from potstill.pipelines.sources.texts import NAMES

IMAGE_NAMES = ("image", "images", "jpg", "png", "img", "picture", "image_bytes", "image_data", "bytes", "content")


class ColumnNames(Settings):
    """Names of columns in the files; what is not given is found under its usual names."""

    image: str | None = None
    caption: str | None = None
    instruction: str | None = None
    response: str | None = None
    licence: str | None = None


def column_names(settings: ColumnNames, columns: pa.Schema, file: str) -> dict[str, str]:
    """Column of the file for each of ours. Raises :class:`RequestError` when the image column cannot be told."""
    asked = {ours: name for ours, name in settings.model_dump().items() if name is not None}
    for ours, name in asked.items():
        if name not in columns.names:
            known = ", ".join(columns.names)
            raise RequestError(f"source.columns.{ours}: {file} has no column {name!r}; columns: {known}")
    usual = [name for name in (*IMAGE_NAMES, *columns.names) if name in columns.names]
    image = asked.get("image") or next((name for name in usual if _holds_images(columns.field(name).type)), None)
    if image is None or not _holds_images(columns.field(image).type):
        known = ", ".join(f"{field.name} ({field.type})" for field in columns)
        raise RequestError(f"{file} has no image column (binary, or struct<bytes, path>) among: {known}; "
                           "name it in source.columns.image")  # fmt: skip
    names = {"image": image}
    for ours, usual_names in NAMES.items():
        lower = {name.lower(): name for name in reversed(columns.names)}
        fits = (lower[each] for each in usual_names if each in lower and _is_text(columns.field(lower[each]).type))
        name = asked.get(ours) or next(fits, None)
        names |= {ours: name} if name is not None else {}
    return names


def _holds_images(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        fields = {field.name: field.type for field in kind}
        return "bytes" in fields and _holds_images(fields["bytes"])
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)
