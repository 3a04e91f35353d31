"""How big is what ships? Over the ceiling, the build fails: size is cold-start time.

Run as `python -m infra.package_size`.
"""

import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

from infra.faults import DeployFault
from infra.package import copy_project, package

CEILING_BYTES = 20_000_000
# What the service itself takes: https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
LAMBDA_UNZIPPED_BYTES = 250 * 1024 * 1024


def verdict(archive: Path, ceiling: int = CEILING_BYTES) -> tuple[int, str]:
    """(exit code, one line) for a deployment package."""
    size = archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        entries = opened.infolist()
    parts: Counter[str] = Counter()
    for entry in entries:
        parts[entry.filename.split("/")[0]] += entry.compress_size
    unzipped = sum(entry.file_size for entry in entries)
    biggest = ", ".join(f"{name} {_mb(bytes_)}" for name, bytes_ in parts.most_common(3))
    line = f"package: {_mb(size)} of at most {_mb(ceiling)}, {_mb(unzipped)} unzipped ({biggest})"
    fits = size <= ceiling and unzipped <= LAMBDA_UNZIPPED_BYTES
    return (0, line) if fits else (1, f"TOO BIG: {line}")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def main() -> int:
    """Package the app and weigh it; 1 when it is too big, or can't be made."""
    folder = Path(tempfile.mkdtemp(prefix="seckill-package-"))
    try:
        copy_project(folder / "project")
        # Only the local stage can be packaged before it was deployed: it asks for no user pool.
        package(folder / "project", "local", folder / "out")
        code, line = verdict(folder / "out" / "deployment.zip")
    except DeployFault as fault:
        code, line = 1, f"NOT weighed: {fault}"
    finally:
        shutil.rmtree(folder)
    print(line)
    return code


if __name__ == "__main__":
    sys.exit(main())
