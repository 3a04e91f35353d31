"""What the README and the docs print works as printed."""

import os
import re
import subprocess

from tests.integration.conftest import HUNG_S, ROOT, Shop


def run(script: str, shop: Shop) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own documents
        ["bash", "-euo", "pipefail", "-c", script],  # noqa: S607
        env={**os.environ, "BASE": shop.cloud.url},
        capture_output=True,
        text=True,
        timeout=HUNG_S,
        check=True,
    )


def test_each_route_once_as_the_readme_has_it(shop: Shop) -> None:
    [script] = re.findall(r"```bash\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    out = run(script, shop).stdout
    assert len(re.findall(r" \[20[01]\]$", out, re.MULTILINE)) == out.count("\n") == 22


def stretched(script: str, times: int) -> str:
    """The script with a hold and pauses that are longer."""
    script, holds = re.subn(
        r'(holdSeconds\\": )(\d+)', lambda m: f"{m[1]}{times * int(m[2])}", script
    )
    script, pauses = re.subn(r"(?m)^sleep (\S+)", lambda m: f"sleep {times * float(m[1])}", script)
    assert (holds, pauses) == (1, 2)
    return script


def test_the_sale_with_payment_goes_as_its_comments_say(shop: Shop) -> None:
    script = (ROOT / "docs/sale-with-payment.sh").read_text()
    expected = ["201"] * 4 + ["409", "200", "200", "201", "201", "409", "200", "200", "200"]
    for times in (1, 5, 20):  # on a busy machine nobody pays within two seconds
        out = run(stretched(script, times), shop).stderr
        statuses = re.findall(r" \[(\d+)\]$", out, re.MULTILINE)
        shown = '"state":"REFUND_DUE"' in out, '"state":"FINISHED"' in out
        if (statuses, shown) == (expected, (True, True)):
            break
    assert statuses == expected
    assert shown == (True, True)
