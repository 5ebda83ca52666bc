#!/usr/bin/env python3
"""What `kubectl kustomize DIRECTORY` prints, for machines without kubectl: assemble.py DIRECTORY.

It knows what our files use (resources, namespace, labels, images, patches, configMapGenerator) and refuses anything else. Where there is
a kubectl, the test compares the two; only the hashes in the names of ConfigMaps differ.
"""
import copy, hashlib, json, pathlib, sys
import yaml

KNOWN = {"apiVersion", "kind", "resources", "namespace", "labels", "images", "patches", "configMapGenerator", "generatorOptions"}
CLUSTER_WIDE = {"Namespace"}
# How the elements of lists are told apart when they are patched.
KEYS = {"containers": "name", "env": "name", "volumes": "name", "volumeMounts": "mountPath", "ports": "port"}


def walk(value):
    yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from walk(inner)


def merged(old, new, name=""):
    """Strategic merge: maps by key, known lists by their elements' key, everything else is replaced. null removes."""
    if isinstance(old, dict) and isinstance(new, dict):
        out = dict(old)
        for key, value in new.items():
            if value is None:
                out.pop(key, None)
            else:
                out[key] = merged(out[key], value, key) if key in out else value
        return out
    if isinstance(old, list) and isinstance(new, list) and name in KEYS:
        by = KEYS[name]
        known, first = {one.get(by): one for one in old}, [one.get(by) for one in new]
        return [merged(known[one[by]], one) if one.get(by) in known else one for one in new] + [one for one in old if one.get(by) not in first]
    return new


def operate(target, operation):
    if operation["op"] != "add":
        raise SystemExit(f"assemble: operation {operation['op']} is not known")
    *path, last = operation["path"].strip("/").split("/")
    for part in path:
        target = target[int(part)] if isinstance(target, list) else target[part]
    target[last] = operation["value"]


def patch(objects, base, rule):
    text = (base / rule["path"]).read_text() if "path" in rule else rule["patch"]
    for change in yaml.safe_load_all(text):
        if isinstance(change, list):
            chosen = [one for one in objects if one["kind"] == rule["target"]["kind"]]
        else:
            chosen = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (change["kind"], change["metadata"]["name"])]
        if not chosen:
            raise SystemExit(f"assemble: nothing to patch in {base}: {rule}")
        for one in chosen:
            if isinstance(change, list):
                for operation in change:
                    operate(one, operation)
            else:
                result = merged(one, {key: value for key, value in change.items() if key != "metadata"})
                one.clear()
                one.update(result)


def generated(base, rule):
    data = {pathlib.Path(name).name: (base / name).read_text() for name in rule.get("files", ())}
    for name in rule.get("envs", ()):
        lines = [line for line in (base / name).read_text().splitlines() if line and not line.startswith("#")]
        data.update(line.split("=", 1) for line in lines)
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": rule["name"]}, "data": data}
    if labels := rule.get("options", {}).get("labels"):
        made["metadata"]["labels"] = labels
    made["_hash"] = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:10]
    if rule.get("options", {}).get("disableNameSuffixHash"):
        made["_hash"] = ""
    return made


def assemble(base):
    rules = yaml.safe_load((base / "kustomization.yaml").read_text())
    if unknown := set(rules) - KNOWN:
        raise SystemExit(f"assemble: {base}: {unknown} is not known")
    objects = []
    for name in rules.get("resources", ()):
        path = (base / name).resolve()
        objects += assemble(path) if path.is_dir() else [copy.deepcopy(one) for one in yaml.safe_load_all(path.read_text()) if one]
    objects += [generated(base, rule) for rule in rules.get("configMapGenerator", ())]
    for rule in rules.get("patches", ()):
        patch(objects, base, rule)
    for one in objects:
        for rule in rules.get("labels", ()):
            one["metadata"].setdefault("labels", {}).update(rule["pairs"])
        if "namespace" in rules:
            if one["kind"] in CLUSTER_WIDE:
                one["metadata"]["name"] = rules["namespace"]
            else:
                one["metadata"]["namespace"] = rules["namespace"]
        for value in walk(one):
            for rule in rules.get("images", ()):
                image = value.get("image") if isinstance(value, dict) else None
                if isinstance(image, str) and image.rsplit(":", 1)[0] == rule["name"]:
                    value["image"] = f"{rule.get('newName', rule['name'])}:{rule['newTag']}"
    return objects


def named(objects):
    """Gives the generated maps their hashes, in their names and wherever they are named."""
    names = {one["metadata"]["name"]: f"{one['metadata']['name']}-{one['_hash']}" for one in objects if one.get("_hash")}
    for one in objects:
        one.pop("_hash", None)
        if one["kind"] == "ConfigMap":
            one["metadata"]["name"] = names.get(one["metadata"]["name"], one["metadata"]["name"])
        for value in walk(one):
            for place in ("configMap", "configMapRef", "configMapKeyRef"):
                if isinstance(value, dict) and isinstance(value.get(place), dict):
                    value[place]["name"] = names.get(value[place]["name"], value[place]["name"])
    return objects


if __name__ == "__main__":
    yaml.SafeDumper.ignore_aliases = lambda *_: True
    print(yaml.safe_dump_all(named(assemble(pathlib.Path(sys.argv[1]).resolve())), sort_keys=False), end="")
