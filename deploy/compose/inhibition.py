#!/usr/bin/env python3
"""Whether a real Alertmanager, with alertmanager.yml, keeps quiet about what follows from RedisDown, and about nothing else."""
import json, pathlib, re, subprocess, sys, tempfile, time, urllib.request

CONFIG = pathlib.Path(__file__).resolve().with_name("alertmanager.yml")
DOWN, SENTINEL_DOWN = ("RedisDown", "redis"), ("RedisDown", "redis-sentinel")
LAG, SENTINEL_LAG, RATE = ("RedisReplicationLag", "redis"), ("RedisReplicationLag", "redis-sentinel"), ("CacheHitRateLow", "application")
OTHERS = [("RedisMasterCount", "redis"), ("SentinelQuorumLost", "redis-sentinel"), ("CacheCoherenceStale", "application"), ("RedisReplicationLag", "another")]
# What fires, and which of it is not told: with each RedisDown something that is not, so that it is known to have been noticed.
CASES = [
    ([LAG, RATE], set()),
    ([DOWN, LAG, RATE], {LAG, RATE}),
    ([DOWN, LAG, *OTHERS], {LAG}),
    ([SENTINEL_DOWN, SENTINEL_LAG, LAG, RATE, *OTHERS], {SENTINEL_LAG}),
]


def ask(base, alerts=None):
    data = None if alerts is None else json.dumps(alerts).encode()
    request = urllib.request.Request(f"{base}/api/v2/alerts", data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def quiet(base, firing, expected, case):
    """Those of this case are told apart by a label, and end with it. It notices them a moment after it has taken them."""
    alerts = [{"labels": {"alertname": name, "job": job, "case": str(case)}} for name, job in firing]
    ask(base, alerts)
    got, limit = None, time.monotonic() + 10
    while got != expected and time.monotonic() < limit:
        seen = [one for one in ask(base) if one["labels"]["case"] == str(case)]
        got = {(one["labels"]["alertname"], one["labels"]["job"]) for one in seen if one["status"]["inhibitedBy"]} if len(seen) == len(firing) else None
    ask(base, [one | {"endsAt": "2001-01-01T00:00:00Z", "startsAt": "2000-01-01T00:00:00Z"} for one in alerts])
    return got


def main():
    with tempfile.TemporaryDirectory() as data:
        command = ["prometheus-alertmanager", f"--config.file={CONFIG}", f"--storage.path={data}", "--cluster.listen-address=", "--web.listen-address=127.0.0.1:0"]
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        try:
            said = []
            for line in server.stderr:
                said.append(line)
                if found := re.search(r'address=(127\.0\.0\.1:\d*[1-9]\d*)', line):
                    break
            else:
                sys.exit(f"Alertmanager ended: {''.join(said)}")
            for case, (firing, expected) in enumerate(CASES):
                if (got := quiet(f"http://{found[1]}", firing, expected, case)) != expected:
                    sys.exit(f"of {firing} it keeps quiet about {got or 'nothing'} and not about {expected or 'nothing'}")
        finally:
            server.kill()
            server.wait()
    print(f"Alertmanager keeps quiet about what it should, in {len(CASES)} cases")


main()
