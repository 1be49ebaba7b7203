"""`ray_cluster.yaml` is what `ray up` accepts; checked by Ray's own code, with nothing started."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

FILE = Path(__file__).resolve().parent.parent.parent / "ray_cluster.yaml"


@pytest.fixture
def cluster() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    return loaded


def accepted(config: dict[str, Any]) -> dict[str, Any]:
    """What `ray up` makes of a file before it looks for machines. Raises what it raises."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared: dict[str, Any] = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


def test_ray_up_accepts_the_file(cluster: dict[str, Any]) -> None:
    prepared = accepted(cluster)
    kind = prepared["available_node_types"][prepared["head_node_type"]]
    assert kind["max_workers"] == len(cluster["provider"]["worker_ips"])


def test_the_check_refuses_what_ray_up_refuses(cluster: dict[str, Any]) -> None:
    import jsonschema

    with pytest.raises(jsonschema.ValidationError):
        accepted({**cluster, "auth": {**cluster["auth"], "password": "x"}})


def test_every_address_is_a_placeholder(cluster: dict[str, Any]) -> None:
    for address in (cluster["provider"]["head_ip"], *cluster["provider"]["worker_ips"]):
        assert address.startswith("192.0.2."), "RFC 5737 keeps these for documentation"


def test_no_key_is_in_the_file_nor_passed_on_by_it(cluster: dict[str, Any]) -> None:
    from callsheet.crews.system import KEYS

    text = json.dumps(cluster)
    assert not [key for key in KEYS if key in text]


def test_head_and_workers_start_without_reports_to_ray(cluster: dict[str, Any]) -> None:
    for part in ("head_start_ray_commands", "worker_start_ray_commands"):
        starts = [command for command in cluster[part] if "ray start" in command]
        assert len(starts) == 1
        assert "RAY_USAGE_STATS_ENABLED=0" in starts[0]
    assert "--dashboard-host=127.0.0.1" in json.dumps(cluster["head_start_ray_commands"])
