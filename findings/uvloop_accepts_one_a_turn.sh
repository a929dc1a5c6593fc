#!/usr/bin/env bash
# A server on uvloop (uvloop==0.23.0) takes one waiting connection in each turn of its event loop; on the standard library's loop it
# takes all that wait, up to its backlog, in one. A turn lasts as long as the work that is due in it: where a thousand agents call a
# proxy of language models at once and some hundred calls are under way, a turn is long, and the last of a thousand new clients waits
# for a thousand of them, while those that are connected are answered. Nothing says so: the system has taken the connection, and the
# server's own times begin when it is accepted.
# Seen: 100 waiting connections take 100 turns or more on uvloop, and fewer than 5 on asyncio's loop; a server that is given the same
# listening socket 25 times (socket.dup) takes 25 in each turn on uvloop too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q uvloop==0.23.0
cat >"$folder/seen.py" <<'PY'
import asyncio
import socket

import uvloop

CROWD = 100


class Counting(asyncio.Protocol):
    there = 0

    def connection_made(self, transport):
        Counting.there += 1


async def turns(doors):
    """Turns of the running loop until all of a crowd that waits at one address is accepted."""
    loop = asyncio.get_running_loop()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    # All have connected before the server begins: the system keeps them.
    crowd = [socket.create_connection(listener.getsockname()) for _ in range(CROWD)]
    Counting.there = 0
    sockets = [listener, *(listener.dup() for _ in range(doors - 1))]
    servers = [await loop.create_server(Counting, sock=one, backlog=1024) for one in sockets]
    count = 0
    while Counting.there < CROWD:
        count += 1
        await asyncio.sleep(0)
    for one in [*servers, *crowd]:
        one.close()
    return count


def seen(loop, doors):
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(turns(doors))


plain, fast, many = seen(asyncio.new_event_loop, 1), seen(uvloop.new_event_loop, 1), seen(uvloop.new_event_loop, 25)
print(f"turns until {CROWD} waiting connections are accepted: asyncio {plain}, uvloop {fast}, uvloop at 25 doors {many}")
assert plain < 5
assert CROWD <= fast < 2 * CROWD
assert many < CROWD / 2
PY
"$folder/venv/bin/python" "$folder/seen.py"
