#!/usr/bin/env python3
"""Load while servers are killed: whether an invalidation that was acknowledged is ever without effect. `load.py COMMAND`, until SIGTERM.

Two proxies without memory of their own share what they store in the Redis of the environment, so every hit is Redis's. Each writer has
a few pages: it changes one at the origin, sends PURGE to one proxy until that acknowledges, and from then on whoever asks the other
proxy may not get what was before. Who waits for the answer to an earlier request may, for as long as CACHE_L1_MAX_LAG (1 s), for that is
memory. Prints what it has seen, and fails if something older was answered, or if too little happened.
"""
import collections, http.client, http.server, os, random, signal, subprocess, sys, threading, time

PAGES, WRITERS, READERS, MAX_LAG = 16, 2, 4, 1.0
versions = [0] * PAGES
# When what was acknowledged, of each page.
acknowledged = [[(0.0, 0)] for _ in range(PAGES)]
counts, violations, over = collections.Counter(), [], threading.Event()


class Origin(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = str(versions[int(self.path[1:])]).encode()
        time.sleep(random.random() / 100)  # as long as an origin takes, so that changes overtake answers
        self.send_response(200)
        self.send_header("Cache-Control", "s-maxage=600")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Proxy:
    def __init__(self, command, origin):
        flags = ["--origin", f"http://127.0.0.1:{origin}", "--listen", "127.0.0.1:0", "--admin", "off", "--access-log", "off"]
        environment = {**os.environ, "CACHE_L1_ENABLED": "false", "LOG_LEVEL": "ERROR"}
        self.process = subprocess.Popen([command, "proxy", *flags], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def request(self, method, page):
        """Status, what the cache says, body. A failure to answer at all is a failure of the run: a cache never adds errors."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, f"/{page}", headers={"Host": "load.example"})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer.status, answer.headers.get("Cache-Status", ""), body


def write(number, proxy):
    while not over.is_set():
        page = random.randrange(number, PAGES, WRITERS)
        versions[page] += 1
        while not over.is_set():
            status, _, _ = proxy.request("PURGE", page)
            counts["purges acknowledged" if status == 200 else "purges refused"] += 1
            if status == 200:
                acknowledged[page].append((time.monotonic(), versions[page]))
                break
            over.wait(0.05)
        over.wait(random.random() / 3)


def read(proxy):
    while not over.is_set():
        page = random.randrange(PAGES)
        begin = time.monotonic()
        status, said, body = proxy.request("GET", page)
        counts["hits" if "; hit" in said else "fills"] += 1
        since = begin - MAX_LAG if "; collapsed" in said else begin
        least = max(version for when, version in acknowledged[page] if when <= since)
        if status != 200 or int(body) < least:
            violations.append(f"page {page}: {status}, {body!r} where {least} had been acknowledged; {said}")


def guarded(work, *arguments):
    try:
        work(*arguments)
    except Exception as error:
        violations.append(f"{work.__name__}: {error!r}")


def main(command):
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    writing, reading = (Proxy(command, origin.server_address[1]) for _ in range(2))
    work = [(write, number, writing) for number in range(WRITERS)] + [(read, reading)] * READERS
    threads = [threading.Thread(target=guarded, args=one) for one in work]
    for thread in threads:
        thread.start()
    while not over.wait(0.2) and not violations:
        pass
    over.set()
    for thread in threads:
        thread.join()
    for proxy in (writing, reading):
        proxy.process.terminate()
        proxy.process.wait()
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    print("\n".join(violations[:5]))
    # All three, or the run has shown nothing.
    return bool(violations) or min(counts["hits"], counts["fills"], counts["purges acknowledged"]) < 50


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
