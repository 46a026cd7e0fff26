"""Promises of the Dockerfile and what stands beside it, as far as they can be kept without a Docker engine."""

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
NGINX = (ROOT / "deploy" / "nginx.conf").read_text()


def test_the_image_has_no_torch_and_its_user_is_not_root() -> None:
    assert "'.[serve]'" in DOCKERFILE
    assert not re.search(r"\[[^]]*(train|dev)", DOCKERFILE)
    assert re.search(r"^USER (?!root)\w+$", DOCKERFILE, re.MULTILINE)
    assert DOCKERFILE.index("USER") < DOCKERFILE.index("ENTRYPOINT")


def test_the_image_is_built_from_what_is_let_in() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {word for line in re.findall(r"^COPY (.+)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]}
    assert copied <= allowed
    assert all((ROOT / name).exists() for name in allowed)


def test_two_replicas_stand_behind_the_proxy() -> None:
    services = COMPOSE["services"]
    assert services["fer"]["deploy"]["replicas"] == 2
    assert services["proxy"]["depends_on"]["fer"]["condition"] == "service_healthy"
    assert all(port.startswith("127.0.0.1:") for port in services["proxy"]["ports"])
    assert "server fer:8000" in NGINX


def test_a_busy_replica_is_asked_again_and_a_new_one_is_found() -> None:
    assert re.search(r"server fer:8000 resolve max_fails=0;", NGINX)
    assert "resolver 127.0.0.11" in NGINX
    assert "zone fer" in NGINX  # `resolve` wants one


def test_only_live_may_be_silent_for_long_and_nobody_outside_reads_the_metrics() -> None:
    locations = dict(re.findall(r"location (\S+ ?\S*) \{(.*?)\}", NGINX, re.DOTALL))
    assert [name for name, text in locations.items() if "proxy_read_timeout" in text] == ["= /live"]
    assert "deny all" in locations["= /metrics"]


def test_a_replica_has_time_to_stop_and_cannot_take_all_memory() -> None:
    service = COMPOSE["services"]["fer"]
    assert service["stop_grace_period"] == "30s"
    assert service["mem_limit"]


def test_the_proxy_passes_on_what_the_server_checks() -> None:
    for line in ("Host $http_host", "Upgrade $http_upgrade", "http_503"):
        assert line in NGINX
    assert NGINX.count("{") == NGINX.count("}")
