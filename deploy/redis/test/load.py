#!/usr/bin/env python3
"""Load while servers are killed: whether an invalidation that was acknowledged is ever without effect. `load.py COMMAND PORT...`, until
SIGTERM. The ports are those of the nodes.

Two proxies without memory of their own share what they store in the Redis of the environment, so every hit is Redis's. Each writer has
a few pages: it changes one at the origin, sends PURGE to one proxy until that acknowledges, and from then on whoever asks the other
proxy may not get what was before. For as long as CACHE_L1_MAX_LAG (1 s) it may get that all the same in two cases: it waited for the
answer to an earlier request, for that is memory; or two nodes took themselves for the primary. Prints what it has seen, and fails if
something older was answered, or if too little happened.
"""
import collections, http.client, http.server, os, random, signal, socket, subprocess, sys, threading, time

PAGES, WRITERS, READERS, MAX_LAG = 16, 2, 4, 1.0
# So long before and after it was seen that there were two primaries there may have been.
AROUND = 0.5
versions = [0] * PAGES
# When what was acknowledged, of each page.
acknowledged = [[(0.0, 0)] for _ in range(PAGES)]
counts, violations, over = collections.Counter(), [], threading.Event()
# Of each node, whether it last said that it is a primary; and when there were two.
roles, two_primaries = {}, []
# What was older than it may be, unless there were two primaries: when it was asked for, and what is wrong.
doubtful = []


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


def watch(port):
    """Who hangs has the role that it had; who is dead has none."""
    while not over.wait(0.02):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as node:
                node.sendall(f"AUTH exporter {os.environ['EXPORTER_PASSWORD']}\r\nINFO replication\r\n".encode())
                said = b""
                while b"role:" not in said or b"\n" not in said.split(b"role:")[1]:
                    said += node.recv(65536) or b"role:none\n"
            roles[port] = said.split(b"role:")[1].startswith(b"master")
        except ConnectionRefusedError:
            roles[port] = False
        except OSError:
            pass
        if sum(list(roles.values())) > 1:
            two_primaries.append(time.monotonic())


def read(proxy):
    while not over.is_set():
        page = random.randrange(PAGES)
        begin = time.monotonic()
        status, said, body = proxy.request("GET", page)
        counts["hits" if "; hit" in said else "fills"] += 1
        owed = lambda since: max(version for when, version in acknowledged[page] if when <= since)
        text = f"page {page}: {status}, {body!r} where {owed(begin)} had been acknowledged; {said}"
        if status != 200 or int(body) < owed(begin - MAX_LAG):
            violations.append(text)
        elif int(body) < owed(begin) and "; collapsed" not in said:
            doubtful.append((begin, text))


def guarded(work, *arguments):
    try:
        work(*arguments)
    except Exception as error:
        violations.append(f"{work.__name__}: {error!r}")


def judge():
    """Within the lag it is allowed where two nodes took themselves for the primary."""
    for begin, text in doubtful:
        if any(begin - MAX_LAG - AROUND < when < begin + AROUND for when in two_primaries):
            counts["old answers while there were two primaries"] += 1
        else:
            violations.append(f"{text}; there was one primary")


def main(command, *ports):
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    origin = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Origin)
    threading.Thread(target=origin.serve_forever, daemon=True).start()
    writing, reading = (Proxy(command, origin.server_address[1]) for _ in range(2))
    work = [(write, number, writing) for number in range(WRITERS)] + [(read, reading)] * READERS
    work += [(watch, int(port)) for port in ports]
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
    judge()
    counts["moments with two primaries"] = len(two_primaries)
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    print("\n".join(violations[:5]))
    # All three, or the run has shown nothing.
    return bool(violations) or min(counts["hits"], counts["fills"], counts["purges acknowledged"]) < 50


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
