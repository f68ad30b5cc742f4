"""How the source tests read a source to its end."""


def rows(source, max_rows=100, max_bytes=1 << 20):
    """All rows, item by item; each item must yield exactly the rows that it listed."""
    found = []
    for item in source.items(max_rows, max_bytes):
        mine = list(source.read(item))
        assert len(mine) == item.rows
        found += mine
    return found
