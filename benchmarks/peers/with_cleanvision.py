"""cleanvision: its checks for odd shapes, or for exact and near duplicates. Run by run.py in its own environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from cleanvision import Imagelab


def main(task: str, data: str, out: str) -> None:
    """Write the names of the pictures that stay."""
    paths = [str(Path(data, json.loads(line)["image"])) for line in Path(data, "rows.jsonl").read_text().splitlines()]
    lab = Imagelab(filepaths=paths)
    checks = (
        {"odd_aspect_ratio": {"threshold": 1 / 3}}
        if task == "size"
        else {"exact_duplicates": {}, "near_duplicates": {}}
    )
    lab.find_issues(checks, n_jobs=1, verbose=False)
    gone: set[str] = set()
    if task == "size":
        gone = {str(path) for path in lab.issues.index[lab.issues["is_odd_aspect_ratio_issue"]]}
    else:
        for kind in ("exact_duplicates", "near_duplicates"):
            for group in lab.info.get(kind, {}).get("sets", []):
                staying = [path for path in sorted(map(str, group)) if path not in gone]
                gone.update(staying[1:])
    Path(out).write_text(json.dumps([Path(path).name for path in paths if path not in gone]))


if __name__ == "__main__":
    main(*sys.argv[1:])
