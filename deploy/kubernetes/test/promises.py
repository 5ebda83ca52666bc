#!/usr/bin/env python3
"""Holds assembled manifests to what is promised: promises.py FILE.yaml... Prints what is broken; --self-test breaks each once.

Schemas find what Kubernetes would refuse. Here is what it would accept and we do not: a container that may write to its image, a name
that nothing has, a variable that Terrace does not know.
"""
import copy, pathlib, re, sys
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[3]
TABLE = (ROOT / "crates/terrace/src/config/table.rs").read_text()
MANUAL = (ROOT / "crates/terrace/src/manual/redis.md").read_text()
KNOWN = set(re.findall(r'name: "([A-Z0-9_]+)"', TABLE)) | set(re.findall(r"`(REDIS_[A-Z0-9_]+)`", MANUAL)) | {"LOG_LEVEL"}
# Made by deploy/scripts/deploy.sh, not by these files.
SECRETS = {"cache-credentials": {"REDIS_PASSWORD", "OPERATOR_PASSWORD", "ADMIN_PASSWORD", "NODE_PASSWORD", "EXPORTER_PASSWORD", "SENTINEL_PASSWORD", "AUTHZ_CACHE_KEYS"}}
# Somebody adds it while passwords are changed.
OPTIONAL = {"OLD_PASSWORDS"}


def template(one):
    spec = one.get("spec", {})
    if one["kind"] == "CronJob":
        return spec["jobTemplate"]["spec"]["template"]
    return spec.get("template") if one["kind"] in ("Deployment", "StatefulSet") else None


def walk(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def confinement(pod):
    spec, security = pod["spec"], pod["spec"].get("securityContext", {})
    if spec.get("automountServiceAccountToken") is not False:
        yield "has a token of Kubernetes"
    if spec.get("enableServiceLinks") is not False:
        yield "has service links, which set REDIS_PORT"
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    for container in spec["containers"]:
        own, limits = container.get("securityContext", {}), container.get("resources", {})
        if not own.get("readOnlyRootFilesystem"):
            yield f"{container['name']} may write to its image"
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} has privileges"
        if {"cpu", "memory"} - set(limits.get("limits", {})) or {"cpu", "memory"} - set(limits.get("requests", {})):
            yield f"{container['name']} has no limits or no requests"
        if ":" not in container["image"] or container["image"].endswith(":latest"):
            yield f"{container['name']} has no version of {container['image']}"


def references(pod, maps):
    for value in walk(pod):
        if not isinstance(value, dict):
            continue
        for place in ("configMap", "configMapRef", "configMapKeyRef"):
            if place in value and value[place]["name"] not in maps:
                yield f"there is no ConfigMap {value[place]['name']}"
        if reference := value.get("configMapKeyRef"):
            if reference["key"] not in maps.get(reference["name"], ()):
                yield f"ConfigMap {reference['name']} has no {reference['key']}"
        if reference := value.get("secretKeyRef"):
            known = OPTIONAL if reference.get("optional") else SECRETS.get(reference["name"], ())
            if reference["key"] not in known:
                yield f"Secret {reference['name']} has no {reference['key']}"


def scripts(pod, maps):
    """What containers and probes execute is a file of a ConfigMap that is mounted there, executable."""
    volumes = {volume["name"]: volume.get("configMap") for volume in pod["spec"].get("volumes", ())}
    for container in pod["spec"]["containers"]:
        files = {}
        for mount in container.get("volumeMounts", ()):
            if source := volumes.get(mount["name"]):
                files |= {f"{mount['mountPath']}/{name}": source.get("defaultMode", 0o644) for name in maps.get(source["name"], ())}
        for value in walk(container):
            command = value.get("command") if isinstance(value, dict) else None
            if command and not files.get(command[0], 0) & 0o111:
                yield f"{container['name']} executes {command[0]}, which is not there or not executable"
        for word in container.get("args", ()):
            if word.startswith("/etc/") and word not in files:
                yield f"{container['name']} reads {word}, which is not there"


def variables(pod, maps):
    for container in pod["spec"]["containers"]:
        if not container["image"].split("/")[-1].startswith("terrace"):
            continue
        names = [one["name"] for one in container.get("env", ())]
        for source in container.get("envFrom", ()):
            names += maps.get(source["configMapRef"]["name"], ())
        for name in names:
            if re.match(r"(CACHE|AUTHZ|REDIS)_", name) and name not in KNOWN:
                yield f"{container['name']} sets {name}, which Terrace does not know"
        given = [maps.get(source["configMapRef"]["name"], {}) for source in container.get("envFrom", ())]
        if "AUTHZ_CACHE_KEYS" in names and not any(one.get("CACHE_NAMESPACE", "default") != "default" for one in given):
            yield f"{container['name']} shares rights in the namespace default, with which it does not start"



def selects(selector, pods):
    wanted = selector.get("matchLabels", selector) if selector else {}
    return [pod for pod in pods if wanted.items() <= pod["metadata"].get("labels", {}).items()]


def wiring(one, pods, services):
    spec, kind = one.get("spec", {}), one["kind"]
    if kind == "Service":
        chosen = selects(spec["selector"], pods)
        ports = {port["name"] for pod in chosen for container in pod["spec"]["containers"] for port in container.get("ports", ())}
        if not chosen:
            yield "selects no pod"
        yield from (f"has port {port['targetPort']}, which no pod has" for port in spec["ports"] if port["targetPort"] not in ports)
    if kind in ("PodDisruptionBudget", "NetworkPolicy"):
        selector = spec.get("selector", spec.get("podSelector"))
        if not selects(selector, pods):
            yield "is about no pod"
    if kind == "ServiceMonitor":
        chosen = [service for service in services if selects(spec["selector"], [service])]
        ports = {port["name"] for service in chosen for port in service["spec"]["ports"]}
        yield from (f"scrapes {end['port']}, which no service has" for end in spec["endpoints"] if end["port"] not in ports)


def promised(one):
    """By what the deployments of the field were told to expect."""
    spec, name = one.get("spec", {}), one["metadata"]["name"]
    if (one["kind"], name) == ("StatefulSet", "redis"):
        if spec["replicas"] != 3 or spec["podManagementPolicy"] != "Parallel":
            yield "is not three nodes that start at once"
        if spec["template"]["spec"]["terminationGracePeriodSeconds"] < 60:
            yield "has less than a minute to hand over"
        if spec["persistentVolumeClaimRetentionPolicy"] != {"whenDeleted": "Retain", "whenScaled": "Retain"}:
            yield "loses its data when it is removed"
        for container in spec["template"]["spec"]["containers"]:
            if container["name"] in ("redis", "sentinel") and not {"livenessProbe", "readinessProbe", "startupProbe"} <= set(container):
                yield f"{container['name']} lacks a probe"
        settings = {one["name"]: one.get("value") for one in container_named(spec, "redis")["env"]}
        most, limit = settings["MAXMEMORY"], container_named(spec, "redis")["resources"]["limits"]["memory"]
        if int(most.removesuffix("mb")) > 0.8 * mebibytes(limit):
            yield f"maxmemory {most} is more than 80 % of {limit}"
    if (one["kind"], name) == ("Service", "redis") and (spec.get("clusterIP") != "None" or not spec.get("publishNotReadyAddresses")):
        yield "does not name nodes that are not ready"
    if (one["kind"], name) == ("Deployment", "application"):
        yield from leaving(spec)
    if one["kind"] == "CronJob":
        if spec.get("timeZone") != "Etc/UTC" or spec.get("concurrencyPolicy") != "Forbid" or "activeDeadlineSeconds" not in spec["jobTemplate"]["spec"]:
            yield "has no time zone, may overlap, or never ends"
    if one["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "terrace":
        yield "is left behind by rollback.sh, for it has no label"
    if one["kind"] == "Secret":
        yield "is a secret in a file"


def leaving(spec):
    """The proxy drains for 30 s (its default) after its own pause, and the application behind it has to be there until then."""
    pauses = [container_named(spec, name).get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for name in ("proxy", "application")]
    if pauses[0] < 5:
        yield "closes its port before everybody has heard that it goes"
    if not pauses[0] + 30 < pauses[1] < spec["template"]["spec"]["terminationGracePeriodSeconds"]:
        yield "has an application that ends before its proxy, or is killed"


def room(objects):
    """For all copies that are kept and the one that is being made, of a Redis that is full."""
    named = {(one["kind"], one["metadata"]["name"]): one["spec"] for one in objects if "spec" in one}
    settings = {one["name"]: one.get("value") for one in container_named(named["StatefulSet", "redis"], "redis")["env"]}
    args = container_named(named["CronJob", "backup"]["jobTemplate"]["spec"], "backup")["args"]
    needed = (int(args[args.index("--keep") + 1]) + 1) * int(settings["MAXMEMORY"].removesuffix("mb"))
    if mebibytes(named["PersistentVolumeClaim", "backup"]["resources"]["requests"]["storage"]) < needed:
        yield f"has less than {needed} MiB"


def container_named(spec, name):
    return next(one for one in spec["template"]["spec"]["containers"] if one["name"] == name)


def mebibytes(text):
    return int(text[:-2]) * {"Mi": 1, "Gi": 1024}[text[-2:]]


def broken(objects):
    maps = {one["metadata"]["name"]: one.get("data", {}) for one in objects if one["kind"] == "ConfigMap"}
    pods = [pod for one in objects if (pod := template(one))]
    services = [one for one in objects if one["kind"] == "Service"]
    for what in room(objects):
        yield f"PersistentVolumeClaim backup: {what}"
    for one in objects:
        found = [*wiring(one, pods, services), *promised(one)]
        if pod := template(one):
            found += [*confinement(pod), *references(pod, maps), *scripts(pod, maps), *variables(pod, maps)]
        for what in found:
            yield f"{one['kind']} {one['metadata']['name']}: {what}"


# What is done to which object, and what has to be noticed.
BREAKAGES = [
    ("StatefulSet redis", lambda one: one["spec"]["template"]["spec"].pop("enableServiceLinks"), "service links"),
    ("StatefulSet redis", lambda one: one["spec"]["template"]["spec"]["securityContext"].pop("runAsUser"), "root"),
    ("StatefulSet redis", lambda one: container_named(one["spec"], "sentinel").pop("readinessProbe"), "lacks a probe"),
    ("StatefulSet redis", lambda one: container_named(one["spec"], "redis")["command"].__setitem__(0, "/etc/terrace/start.sh"), "not there"),
    ("StatefulSet redis", lambda one: one["spec"].update(podManagementPolicy="OrderedReady"), "at once"),
    ("StatefulSet redis", lambda one: container_named(one["spec"], "redis")["resources"]["limits"].update(memory="1Gi"), "80 %"),
    ("Deployment application", lambda one: container_named(one["spec"], "proxy")["env"].append({"name": "CACHE_TTL", "value": "1"}), "does not know"),
    ("Deployment application", lambda one: container_named(one["spec"], "proxy")["envFrom"][0]["configMapRef"].update(name="x"), "no ConfigMap"),
    ("Deployment application", lambda one: container_named(one["spec"], "proxy")["env"][0]["valueFrom"]["secretKeyRef"].update(key="x"), "Secret"),
    ("Deployment application", lambda one: container_named(one["spec"], "application").pop("envFrom"), "does not start"),
    ("Deployment application", lambda one: container_named(one["spec"], "proxy").pop("lifecycle"), "closes its port"),
    ("Deployment application", lambda one: one["spec"]["template"]["spec"].update(terminationGracePeriodSeconds=30), "is killed"),
    ("Deployment watcher", lambda one: container_named(one["spec"], "watcher").update(image="terrace:latest"), "no version"),
    ("Deployment watcher", lambda one: container_named(one["spec"], "watcher")["securityContext"].pop("capabilities"), "privileges"),
    ("PersistentVolumeClaim backup", lambda one: one["spec"]["resources"]["requests"].update(storage="43Gi"), "has less"),
    ("NetworkPolicy metrics", lambda one: one["metadata"].pop("labels"), "left behind"),
    ("CronJob warm-full", lambda one: one["spec"].pop("timeZone"), "time zone"),
    ("Service redis", lambda one: one["spec"]["selector"].update({"app.kubernetes.io/name": "x"}), "no pod"),
    ("Service watcher", lambda one: one["spec"]["ports"][0].update(targetPort="x"), "which no pod has"),
    ("NetworkPolicy redis", lambda one: one["spec"]["podSelector"]["matchLabels"].update({"app.kubernetes.io/name": "x"}), "no pod"),
]


def self_test(objects):
    missed = 0
    for name, change, expected in BREAKAGES:
        mutant = copy.deepcopy(objects)
        change(next(one for one in mutant if f"{one['kind']} {one['metadata']['name']}" == name))
        if not any(expected in line and line.startswith(name) for line in broken(mutant)):
            missed += 1
            print(f"self-test: {name}: nobody notices what should be '{expected}'")
    print(f"self-test: {len(BREAKAGES) - missed} of {len(BREAKAGES)} breakages noticed")
    return missed


if __name__ == "__main__":
    bad = 0
    arguments = [one for one in sys.argv[1:] if one != "--self-test"]
    for file in arguments:
        objects = [one for one in yaml.safe_load_all(pathlib.Path(file).read_text()) if one]
        lines = list(broken(objects))
        bad += len(lines)
        print("\n".join(lines) if lines else f"{pathlib.Path(file).stem}: {len(objects)} objects keep what is promised")
        if "--self-test" in sys.argv:
            bad += self_test(objects)
    sys.exit(bad > 0)
