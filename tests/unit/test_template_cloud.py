"""What only the cloud has: who may do what, where it runs, and what is told to the outside."""

import re
from pathlib import Path

import pytest

from infra import scan
from infra.stack import TEMPLATE, WATCH
from tests.unit.template import in_cloud, load, of_type, present, walk

# What CloudFormation takes without a bucket to put it into first.
MOST_BYTES = 51_200


def test_an_emulator_gets_topic_queues_and_tables_and_nothing_else() -> None:
    local = present("Resources", Stage="local")
    assert {resource["Type"] for resource in local.values()} == {
        "AWS::SNS::Topic", "AWS::SNS::Subscription", "AWS::SQS::Queue", "AWS::SQS::QueuePolicy",
        "AWS::DynamoDB::Table",
    }  # fmt: skip
    assert len(of_type(local, "AWS::SNS::Topic")) == 1
    assert set(present("Outputs", Stage="local")) == {
        "TopicArn", "EventsQueueUrl", "TimersQueueUrl",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "store"),
    [
        ("node", "AWS::ElastiCache::ReplicationGroup"),
        ("serverless", "AWS::ElastiCache::Serverless"),
    ],
)
def test_the_cloud_has_one_store_of_the_wanted_kind_and_its_alarms(kind: str, store: str) -> None:
    resources = in_cloud(kind)
    [found] = [r["Type"] for r in resources.values() if r["Type"].startswith(
        ("AWS::ElastiCache::R", "AWS::ElastiCache::Serverless"))]  # fmt: skip
    assert found.startswith(store)
    about_store = [
        name
        for name, alarm in of_type(resources, "AWS::CloudWatch::Alarm").items()
        if "AWS/ElastiCache" in str(alarm)
    ]
    assert len(about_store) == 2


@pytest.mark.parametrize("path", [TEMPLATE, WATCH])
def test_what_exists_refers_only_to_what_exists(path: Path) -> None:
    names = set(load(path)["Resources"])
    for kind in ("node", "serverless"):
        cloud = {"Cloud": "true", "AlarmEmail": "ops@example.com"}
        resources = present("Resources", path, StoreKind=kind, **cloud)
        # What a condition chooses between is judged by cfn-lint.
        text = re.sub(r"\{'Fn::If': .*?\]\}", "", str(resources))
        used = set(re.findall(r"(?:Ref |GetAtt |\$\{)(\w+)", text)) & names
        assert used <= set(resources)


def test_production_and_the_stage_prod_are_protected_from_deletion() -> None:
    resources = load()["Resources"]
    for table in of_type(resources, "AWS::DynamoDB::Table").values():
        assert table["DeletionProtectionEnabled"] == {"Fn::If": ["InProduction", True, False]}
        assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert load()["Conditions"]["InProduction"] == {
        "Fn::Or": [
            {"Fn::Equals": ["Ref Stage", "prod"]},
            {"Fn::Equals": ["Ref Production", "true"]},
        ]
    }


def test_nobody_is_allowed_anything_without_a_condition() -> None:
    statements = [
        statement
        for resource in in_cloud().values()
        for statement in walk(resource)
        if "Effect" in statement
    ]
    assert len(statements) >= 8
    open_to_all = [s for s in statements if "*" in str(s.get("Principal"))]
    assert [s for s in open_to_all if not s.get("Condition")] == []
    assert [s for s in statements if s["Effect"] == "Allow" and s["Resource"] == "*"] == []


def test_nothing_is_reachable_but_by_functions() -> None:
    groups = of_type(in_cloud(), "AWS::EC2::SecurityGroup")
    rules = {name: group.get("SecurityGroupIngress", []) for name, group in groups.items()}
    assert rules.pop("FunctionsGroup") == []
    assert {(name, r["FromPort"], r["ToPort"]) for name, [r] in rules.items()} == {
        ("StoreGroup", 6379, 6379), ("EndpointsGroup", 443, 443),
    }  # fmt: skip
    assert {r["SourceSecurityGroupId"] for [r] in rules.values()} == {"Ref FunctionsGroup"}
    kinds = {resource["Type"] for resource in in_cloud().values()}
    assert not kinds & {"AWS::EC2::InternetGateway", "AWS::EC2::NatGateway", "AWS::EC2::Route"}


def test_the_zones_may_be_chosen_and_are_else_the_accounts_first_two() -> None:
    """The first two may be ones that Lambda does not know."""
    subnets = of_type(in_cloud(), "AWS::EC2::Subnet")
    chosen = {"Fn::Split": [",", "Ref Zones"]}
    where = {"Fn::If": ["ZonesAreChosen", chosen, "GetAZs "]}
    assert [subnets[name]["AvailabilityZone"] for name in ("SubnetA", "SubnetB")] == [
        {"Fn::Select": [0, where]}, {"Fn::Select": [1, where]},
    ]  # fmt: skip
    assert load()["Conditions"]["ZonesAreChosen"] == {
        "Fn::Not": [{"Fn::Equals": ["Ref Zones", ""]}]
    }
    spec = load()["Parameters"]["Zones"]
    for zones in (spec["Default"], "eu-west-1b,eu-west-1c", "us-west-2-lax-1a,us-west-2a"):
        assert re.fullmatch(spec["AllowedPattern"], zones)
    for zones in ("eu-west-1b", "eu-west-1a,eu-west-1b,eu-west-1c", "eu-west-1b, eu-west-1c"):
        assert not re.fullmatch(spec["AllowedPattern"], zones)


def test_a_full_store_refuses_instead_of_forgetting() -> None:
    [settings] = of_type(in_cloud(), "AWS::ElastiCache::ParameterGroup").values()
    assert settings["Properties"]["maxmemory-policy"] == "noeviction"
    [store] = of_type(in_cloud(), "AWS::ElastiCache::ReplicationGroup").values()
    assert store["CacheParameterGroupName"] == "Ref StoreSettings"
    for wanted in ("MultiAZEnabled", "AutomaticFailoverEnabled", "TransitEncryptionEnabled",
                   "AtRestEncryptionEnabled"):  # fmt: skip
        assert store[wanted] is True


def test_outputs_have_what_a_deployment_needs_and_no_secret() -> None:
    outputs = present("Outputs", Cloud="true")
    assert {
        "TopicArn", "EventsQueueUrl", "TimersQueueUrl", "RedisUrl", "RedisCluster", "SubnetIds",
        "SecurityGroupId", "UserPoolArn", "UserPoolId", "UserPoolClientId", "WebAclArn",
    } <= set(outputs)  # fmt: skip
    text = str(outputs)
    assert not re.search(r"(?i)password|authtoken|clientsecret|resolve:|secretsmanager", text)
    assert not re.search(r"rediss?://[^/$]*@", text)
    assert re.findall(r"redis\w*://", text) == ["rediss://"] * 2
    assert load()["Resources"]["UserPoolClient"]["Properties"]["GenerateSecret"] is False


@pytest.mark.parametrize("path", [TEMPLATE, WATCH])
def test_a_template_is_small_enough_to_be_sent_as_it_is(path: Path) -> None:
    assert len(path.read_bytes()) < MOST_BYTES


def test_both_templates_mean_the_same_by_a_parameter() -> None:
    there, here = (load(path)["Parameters"] for path in (TEMPLATE, WATCH))
    shared = set(there) & set(here)
    assert shared == {"Stage", "StoreKind", "StoreMaximumGigabytes"}
    assert {name: here[name] for name in shared} == {name: there[name] for name in shared}


def test_the_scan_sees_the_cloud() -> None:
    seen: dict[str, set[str]] = {}
    for (name, kind), defaults in scan.SCANNED.items():
        whole = (scan.ROOT / "infra" / f"{name}.yaml").read_text()
        text = scan.variant(whole, defaults)
        changed = {
            (old.strip(), new.strip())
            for old, new in zip(whole.splitlines(), text.splitlines(), strict=True)
            if old != new
        }
        seen.setdefault(name, set()).add(kind)
        switch = ('Default: ""', "Default: ops@example.com")
        if name == "template":
            switch = ('Default: "false"', 'Default: "true"')
        assert switch in changed
        assert len(changed) == (1 if kind == "node" else 2)
    assert seen == {"template": {"node", "serverless"}, "watch": {"node", "serverless"}}
    with pytest.raises(LookupError):
        scan.variant(TEMPLATE.read_text(), {"Clouds": "true"})


def test_a_scan_that_finds_something_or_looks_at_nothing_fails() -> None:
    clean = {"results": {"failed_checks": []}, "summary": {"passed": 3, "parsing_errors": 0}}
    assert scan.verdict(clean)[0] == 0
    finding = {"check_id": "CKV_1", "resource": "Store", "file_line_range": [7, 9],
               "check_name": "Encrypt"}  # fmt: skip
    code, text = scan.verdict({**clean, "results": {"failed_checks": [finding]}})
    assert (code, text.splitlines()[0]) == (1, "CKV_1 Store, line 7: Encrypt")
    assert scan.verdict({"passed": 0, "failed": 0})[0] == 1
    assert scan.verdict({**clean, "summary": {"passed": 3, "parsing_errors": 1}})[0] == 1
