"""The templates' security scan: checkov, without a network. Run as `python -m infra.scan`.

checkov leaves out resources whose condition is false, so it is given each template as the cloud has
it, once for each kind of store. Lines stay where they are in the template.
"""

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
CHECKOV = ROOT / ".venv" / "checkov" / "bin" / "checkov"
# By template and kind of store: the parameters' defaults, as YAML.
SCANNED = {
    (template, kind): {**cloud, "StoreKind": kind}
    for template, cloud in (
        ("template", {"Cloud": '"true"'}),
        ("watch", {"AlarmEmail": "ops@example.com"}),
    )
    for kind in ("node", "serverless")
}


def variant(template: str, defaults: Mapping[str, str]) -> str:
    """The template's text with other defaults of its parameters.

    Raises:
        LookupError: there is no such parameter, or it has no default.
    """
    for name, value in defaults.items():
        pattern = rf"(?m)(^  {name}:\n(?:    .*\n)*?    Default: ).*$"
        template, found = re.subn(pattern, rf"\g<1>{value}", template)
        if found != 1:
            message = f"{found} parameters {name} with a default"
            raise LookupError(message)
    return template


def verdict(report: Mapping[str, Any]) -> tuple[int, str]:
    """(exit code, one line per finding) of checkov's JSON report.

    A report in which nothing was looked at is a failure, too.
    """
    failed = [
        f"{check['check_id']} {check['resource']}, line {check['file_line_range'][0]}: "
        f"{check['check_name']}"
        for check in report.get("results", {}).get("failed_checks", [])
    ]
    summary = report.get("summary", {})
    unread = summary.get("parsing_errors", 1)
    passed = summary.get("passed", 0)
    last = f"scanned: {passed} checks passed, {len(failed)} failed, {unread} files unread"
    return (1 if failed or unread or not passed else 0), "\n".join([*failed, last])


def main() -> int:
    """Scan the templates; 1 when something is found.

    Raises:
        json.JSONDecodeError: checkov did not get as far as a report.
    """
    folder = ROOT / "build" / "scan"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for (name, kind), defaults in SCANNED.items():
        text = variant((ROOT / "infra" / f"{name}.yaml").read_text(), defaults)
        (folder / f"{name}-{kind}.yaml").write_text(text)
    done = subprocess.run(  # noqa: S603 - our own command
        [CHECKOV, "--config-file", ROOT / "infra" / "checkov.yaml", "-o", "json", "-d", folder],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    code, text = verdict(json.loads(done.stdout))
    print(text)
    return code


if __name__ == "__main__":
    sys.exit(main())
