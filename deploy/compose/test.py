#!/usr/bin/env python3
"""What no schema of compose files sees: that everything they name is there. `test.py --self-test` breaks each once, in memory."""
import copy, pathlib, re, subprocess, sys, tempfile
import yaml

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent / "kubernetes/test"))
from promises import KNOWN  # noqa: E402


def load(name):
    return yaml.safe_load((HERE / name).read_text())


def broken(compose, prometheus, alerting, text):
    services, volumes, given = compose["services"], compose["volumes"], set(re.findall(r"^([A-Z_]+)=", (HERE / "credentials.env.example").read_text(), re.M))
    for name in sorted(set(re.findall(r"\$\{([A-Z_]+)", text)) - given):
        yield f"credentials.env.example lacks {name}"
    for name, service in services.items():
        yield from (f"{name}: {what}" for what in of_service(service, services, volumes))
    alerts = {rule["alert"] for group in load("../prometheus/alerts.yml")["groups"] for rule in group["rules"]}
    for rule in alerting["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            if not matcher.startswith("alertname"):
                continue
            for alert in re.split(r"\|", re.search(r'"(.*)"', matcher)[1]):
                if alert not in alerts:
                    yield f"there is no alert {alert}"
    for job in prometheus["scrape_configs"]:
        for label in {"environment", "service"} - job["static_configs"][0].get("labels", {}).keys():
            yield f"the job {job['job_name']} has no label {label}"
        for target in [*job["static_configs"][0]["targets"], *(one.get("replacement") for one in job.get("relabel_configs", ()) if "replacement" in one)]:
            host = target.split("//")[-1].split(":")[0]
            if host not in services and host != "localhost":
                yield f"Prometheus asks {host}, which is no service"
    for file in prometheus["rule_files"]:
        if not (HERE.parent / "prometheus" / pathlib.Path(file).name).is_file():
            yield f"there is no {file}"


def of_service(service, services, volumes):
    if not service.get("read_only") or service.get("cap_drop") != ["ALL"] or "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "is not confined"
    if "mem_limit" not in service:
        yield "has no limit of memory"
    if ":" not in service["image"] or service["image"].endswith(":latest"):
        yield "has no version"
    for port in service.get("ports", ()):
        if not port.startswith("127.0.0.1:"):
            yield f"listens beyond this machine: {port}"
    for mount in service.get("volumes", ()):
        source = mount.split(":")[0]
        if source.startswith(".") and not (HERE / source).exists() or not source.startswith(".") and source not in volumes:
            yield f"mounts {source}, which is not there"
    needed = list(service.get("depends_on", ()))
    if mode := service.get("network_mode"):
        needed.append(mode.removeprefix("service:"))
    for other in needed:
        if other not in services:
            yield f"needs {other}, which is no service"
    if build := service.get("build"):
        stages = re.findall(r"^FROM .* AS (\S+)$", (HERE / build["context"] / build["dockerfile"]).read_text(), re.M)
        if build["target"] not in stages:
            yield f"the Dockerfile has no {build['target']}"
    for path, dashboards in refreshed(service):
        if len(dashboards) != 5 or any(text.count('"refresh": "5s"') != 1 for text in dashboards):
            yield f"has no dashboards in {path} that are refreshed each 5 s"
    command = service.get("command", [""])
    mounts = dict(reversed(mount.removesuffix(":ro").split(":")) for mount in service.get("volumes", ()))
    for word in (word for word in command if word.startswith("/etc/terrace/")):
        path, directory = pathlib.PurePath(word), str(pathlib.PurePath(word).parent)
        if word not in mounts and not (HERE / mounts.get(directory, "none") / path.name).is_file():
            yield f"executes or reads {word}, which is not there"
    if service["image"].startswith("terrace"):
        given = service["environment"]
        if "AUTHZ_CACHE_KEYS" in given and given.get("CACHE_NAMESPACE", "default") == "default":
            yield "shares rights in the namespace default, with which it does not start"
        if given.get("CACHE_NAMESPACE") != services["redis-0"]["environment"].get("CACHE_NAMESPACE"):
            yield "has another namespace than the users of Redis"
        yield from (f"sets {name}, which Terrace does not know" for name in service["environment"] if re.match("(CACHE|AUTHZ|REDIS)_", name) and name not in KNOWN)


def refreshed(service):
    """What the command of Grafana makes of the dashboards, in the directory where they are looked for: it is executed, elsewhere."""
    if not service["image"].startswith("grafana/"):
        return
    path = load("grafana/provisioning/dashboards/terrace.yml")["providers"][0]["options"]["path"]
    with tempfile.TemporaryDirectory() as there:
        text = service["command"][0].replace("$$", "$").replace("/etc/terrace/", f"{HERE.parent}/grafana/").replace(path, there).replace("/run.sh", "true")
        subprocess.run([*service["entrypoint"], text], check=True)
        yield path, [file.read_text() for file in pathlib.Path(there).iterdir()]


def repeated():
    """repeat.sh with a `sleep` that only notes how long, and ends it at the third: after a success, a failure and a success."""
    with tempfile.TemporaryDirectory() as there:
        sleep, noted = pathlib.Path(there, "sleep"), pathlib.Path(there, "noted")
        sleep.write_text(f'#!/bin/sh\necho "$1" >>{noted}\n[ "$(wc -l <{noted})" -lt 3 ] || kill $PPID\n')
        sleep.chmod(0o755)
        command = f"! [ -e {noted} ] || [ $(wc -l <{noted}) != 1 ]"
        subprocess.run([HERE / "repeat.sh", "21600", "/bin/sh", "-c", command], env={"PATH": f"{there}:/usr/bin:/bin"}, timeout=60)
        if (got := noted.read_text().split()) != ["21600", "600", "21600"]:
            yield f"repeat.sh waits {got}"


def self_test(compose, prometheus, alerting, text):
    def change(at, path, value):
        them = [copy.deepcopy(one) for one in (compose, prometheus, alerting)]
        target = them[at]
        for part in path[:-1]:
            target = target[part]
        target[path[-1]] = value
        return [*them, text]

    cases = [
        (change(0, ["services", "proxy", "read_only"], False), "not confined"),
        (change(0, ["services", "proxy", "image"], "terrace"), "no version"),
        (change(0, ["services", "proxy", "network_mode"], "service:x"), "no service"),
        (change(0, ["services", "prometheus", "ports"], ["9090:9090"]), "beyond this machine"),
        (change(0, ["services", "redis-0", "volumes"], ["../rediss:/etc/terrace"]), "not there"),
        (change(0, ["services", "redis-0", "command"], ["/etc/terrace/start.sh"]), "not there"),
        (change(0, ["services", "grafana", "command", 0], "cp /etc/terrace/*.json /run/dashboards/"), "refreshed each 5 s"),
        (change(0, ["services", "backup", "command", 0], "/etc/terrace/again.sh"), "again.sh, which is not there"),
        (change(0, ["services", "watcher", "environment", "CACHE_TTL"], "1"), "does not know"),
        (change(0, ["services", "application", "environment", "CACHE_NAMESPACE"], "default"), "does not start"),
        (change(0, ["services", "watcher", "environment", "CACHE_NAMESPACE"], "x"), "another namespace"),
        (change(0, ["services", "application", "build", "target"], "x"), "has no x"),
        (change(1, ["scrape_configs", 0, "static_configs", 0, "targets"], ["app:1"]), "Prometheus asks app"),
        (change(1, ["scrape_configs", 0, "static_configs", 0, "labels"], {"service": "application"}), "no label environment"),
        (change(2, ["inhibit_rules", 0, "source_matchers"], ['alertname="Down"']), "no alert Down"),
        ([compose, prometheus, alerting, text + "${MORE:?}"], "lacks MORE"),
    ]
    for number, (arguments, expected) in enumerate(cases):
        if not any(expected in line for line in broken(*arguments)):
            yield f"self-test {number}: nobody notices what should be '{expected}'"
    print(f"self-test: {len(cases)} breakages tried")


everything = load("compose.yaml"), load("prometheus.yml"), load("alertmanager.yml"), (HERE / "compose.yaml").read_text()
found = [*broken(*everything), *repeated(), *(self_test(*everything) if "--self-test" in sys.argv else ())]
print("\n".join(found) or f"compose: {len(everything[0]['services'])} services name what is there")
sys.exit(bool(found))
