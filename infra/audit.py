"""Known vulnerabilities in what ships: pip-audit, and a plain word when it could not ask.

pip-audit exits with 0 when the index has no answer for a package, which reads like "none
found". Here such packages are named as not checked. Run as `python -m infra.audit`.
"""

import json
import subprocess
import sys
from pathlib import Path

REQUIREMENTS = Path(__file__).parent.parent / "requirements.txt"


def verdict(report: str) -> tuple[int, str]:
    """(exit code, one line per finding) of pip-audit's JSON report."""
    packages = json.loads(report)["dependencies"]
    vulnerable = [
        f"{package['name']} {package['version']}: {fault['id']}"
        for package in packages
        for fault in package.get("vulns", [])
    ]
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    lines = [f"vulnerable: {line}" for line in vulnerable]
    if skipped:
        lines.append(f"NOT audited, the index has no answer for: {', '.join(skipped)}")
    checked = len(packages) - len(skipped)
    lines.append(f"audited {checked} of {len(packages)} packages, {len(vulnerable)} faults known")
    return (1 if vulnerable else 0), "\n".join(lines)


def main() -> int:
    """Audit requirements.txt; 1 when a vulnerability is known."""
    command = [sys.executable, "-m", "pip_audit", "--requirement", str(REQUIREMENTS), "--no-deps"]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, "--disable-pip", "--format", "json", "--progress-spinner", "off"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not done.stdout.strip():
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "no output"
        print(f"NOT audited: the index can't be asked ({last[:200]})")
        return 0
    code, text = verdict(done.stdout)
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
