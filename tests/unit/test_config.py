"""Settings: defaults, and a clear word for what can't be."""

import pytest

from chalicelib.config import InvalidSetting, read_settings

DEV = {"STAGE": "dev", "USER_POOL_ARN": "arn:aws:cognito-idp:eu-west-1:1:userpool/eu-west-1_a"}


def test_names_are_those_of_the_template() -> None:
    assert read_settings(DEV).resource_name("coupons") == "seckill-dev-coupons"


@pytest.mark.parametrize(
    ("name", "value"),
    [("PUBLISHER", "kafka"), ("STORE_TIMEOUT_S", "soon"), ("BROKER_TIMEOUT_S", "0"),
     ("STORE_TIMEOUT_S", "nan"), ("STORE_TIMEOUT_S", "61")],
)  # fmt: skip
def test_a_setting_out_of_range_is_named(name: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=name):
        read_settings({**DEV, name: value})


@pytest.mark.parametrize("environ", [{}, {"STAGE": ""}, {"AUTH": "open"}])
def test_the_stage_has_to_be_said(environ: dict[str, str]) -> None:
    with pytest.raises(InvalidSetting, match="STAGE is missing"):
        read_settings(environ)
