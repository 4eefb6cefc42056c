"""Write a software bill of materials of the locked environment, in CycloneDX's JSON.

    python scripts/sbom.py [OUTPUT]

Reads `requirements/lock.txt`: every package with its version, hashes and environment marker. Format: CycloneDX 1.6,
https://cyclonedx.org/docs/1.6/json/. The same lock file gives the same document.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements" / "lock.txt"
sys.path.insert(0, str(ROOT))

_PACKAGE = re.compile(
    r"^(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]+?))?\s*\\?$"
)
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(lock: str) -> list[dict[str, Any]]:
    """Return the packages of a lock file as components of CycloneDX.

    Raises:
        ValueError: a line is neither a package, a hash nor a comment.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(lock.splitlines(), start=1):
        package = _PACKAGE.match(line)
        hashed = _HASH.findall(line)
        if package is not None:
            name = re.sub(r"[-_.]+", "-", package["name"]).lower()
            purl = f"pkg:pypi/{name}@{package['version'].replace('+', '%2B')}"
            entry: dict[str, Any] = {"type": "library", "bom-ref": purl, "name": name, "version": package["version"]}
            entry |= {"purl": purl, "hashes": []}
            if package["marker"]:
                # A package can be locked in two versions, each for its machines.
                entry["bom-ref"] += f"#{len(found)}"
                entry["properties"] = [{"name": "environment marker", "value": package["marker"].strip()}]
            found.append(entry)
        elif hashed and found:
            found[-1]["hashes"] += [{"alg": "SHA-256", "content": content} for content in hashed]
        elif line.strip() and not line.lstrip().startswith(("#", "--")):
            raise ValueError(f"{LOCK.name}, line {number}: not understood: {line}")
    return found


def bill(lock: str, version: str) -> dict[str, Any]:
    """Return the document for a lock file and the version of this package."""
    serial = uuid.UUID(hashlib.sha256(f"{version}\n{lock}".encode()).hexdigest()[:32])
    own = {"type": "application", "bom-ref": "lstm-composer", "name": "lstm-composer", "version": version}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": own},
        "components": components(lock),
    }


def main() -> None:
    """Write the document where the command line says, or to `build/sbom.json`."""
    from composer import __version__
    from composer.files import write_text

    path = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build" / "sbom.json"
    made = bill(LOCK.read_text(encoding="utf-8"), __version__)
    write_text(path, json.dumps(made, indent=2) + "\n")
    print(f"{path}: {len(made['components'])} packages")


if __name__ == "__main__":
    main()
