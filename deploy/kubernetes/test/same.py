#!/usr/bin/env python3
"""Whether two files have the same objects, whatever their order and the hashes in the names of ConfigMaps: same.py A B."""
import pathlib, re, sys
import yaml


def objects(file):
    text = pathlib.Path(file).read_text()
    for name in re.findall(r"^  name: (\S+)-[0-9a-z]{10}$", text, re.M):
        text = re.sub(rf"\b{name}-[0-9a-z]{{10}}\b", name, text)
    return {(one["kind"], one["metadata"]["name"]): one for one in yaml.safe_load_all(text) if one}


def difference(a, b, at=""):
    if isinstance(a, dict) and isinstance(b, dict):
        for key in a.keys() | b.keys():
            yield from difference(a.get(key), b.get(key), f"{at}/{key}")
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, pair in enumerate(zip(a, b)):
            yield from difference(*pair, f"{at}/{number}")
    elif a != b:
        yield f"{at}: {a!r} and {b!r}"


found = list(difference(*({"/".join(key): one for key, one in objects(file).items()} for file in sys.argv[1:3])))
print("\n".join(line[:300] for line in found) or "the same")
sys.exit(bool(found))
