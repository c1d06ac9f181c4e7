"""The Python contestant of offload_bench: run_in_executor and gather.

Usage: peer_asyncio.py WORK COUNT WORKERS [ARGUMENT]
where WORK is noop, different, round_trips, nap (ARGUMENT: milliseconds), files
(ARGUMENT: manifest), http (ARGUMENT: port) or memory. Checks every result and
prints what it measured as lines of a key and a number.
"""

import asyncio
import functools
import http.client
import resource
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

MASK = (1 << 64) - 1
local = threading.local()
gate = threading.Event()


# -- the calls, as in work.hpp ------------------------------------------------


def noop(x):
    return x + 1


def nap(seconds, x):
    time.sleep(seconds)
    return x + 1


def read_file(paths, x):
    with open(paths[x], "rb") as file:
        return zlib.crc32(file.read())


def http_get(port, x):
    connection = getattr(local, "connection", None)
    if connection is None:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        local.connection = connection
    connection.request("GET", f"/item/{x}")
    body = connection.getresponse().read()
    if len(body) != 1024 or body != body[:16] * 64:
        return -1
    return int(body[:16], 16)


def gated(x):
    gate.wait()
    return x + 1


def page_number(x):
    x = (x + 0x9E3779B97F4A7C15) & MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
    return x ^ (x >> 31)


def different_call(i):
    if i % 3 == 0:
        return lambda: i + 1
    if i % 3 == 1:
        return lambda a=i, b=i ^ 0x5555: a * 31 + b
    return lambda a=i, b=i << 3, c=i >> 1: (a ^ b) + c


def expected_different(i):
    if i % 3 == 0:
        return i + 1
    if i % 3 == 1:
        return i * 31 + (i ^ 0x5555)
    return (i ^ (i << 3)) + (i >> 1)


# -- the ways to make them ----------------------------------------------------


async def gather_all(executor, call, count):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(loop.run_in_executor(executor, call, i) for i in range(count))
    )


async def gather_different(executor, count):
    loop = asyncio.get_running_loop()
    return await asyncio.gather(
        *(loop.run_in_executor(executor, different_call(i)) for i in range(count))
    )


async def round_trips(executor, count):
    loop = asyncio.get_running_loop()
    return [await loop.run_in_executor(executor, noop, i) for i in range(count)]


async def queue_gated(executor, count):
    loop = asyncio.get_running_loop()
    futures = [loop.run_in_executor(executor, gated, i) for i in range(count)]
    gate.set()
    return await asyncio.gather(*futures)


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


async def timed(run, expected):
    wall, cpu, peak = time.perf_counter(), cpu_seconds(), peak_bytes()
    results = await run()
    took = time.perf_counter() - wall
    took_cpu = cpu_seconds() - cpu
    took_bytes = peak_bytes() - peak
    for i, result in enumerate(results):
        if result != expected(i):
            sys.exit(f"result {i} is {result}, not {expected(i)}")
    return took, took_cpu, took_bytes


async def measure(work, count, workers, argument):
    executor = ThreadPoolExecutor(workers)
    successor = noop
    ideal = 0.0

    if work == "round_trips":
        run, expected = round_trips, successor
    elif work == "different":
        run, expected = gather_different, expected_different
    elif work == "memory":
        run, expected = queue_gated, successor
    else:
        expected = successor
        if work == "noop":
            call = noop
        elif work == "nap":
            seconds = float(argument) / 1000
            ideal = count * seconds / workers
            call = functools.partial(nap, seconds)
        elif work == "files":
            with open(argument, encoding="utf-8") as manifest:
                lines = [line.rsplit(" ", 1) for line in manifest]
            sums = [int(checksum) for _, checksum in lines]
            call = functools.partial(read_file, [path for path, _ in lines])
            expected = sums.__getitem__
        elif work == "http":
            call = functools.partial(http_get, int(argument))
            expected = page_number
        else:
            sys.exit(f"unknown work {work!r}")

        async def run(executor, count):
            return await gather_all(executor, call, count)

    if work != "memory":  # warms threads, connections and the page cache
        await run(executor, min(count, max(workers * 2, count // 10)))
    wall, cpu, memory = await timed(lambda: run(executor, count), expected)
    executor.shutdown()
    return {
        "ns": wall / count * 1e9,
        "cpu_ns": cpu / count * 1e9,
        "us": wall / count * 1e6,
        "cpu_us": cpu / count * 1e6,
        "rate": count / wall,
        "ideal": ideal / wall,
        "wall_ms": wall * 1e3,
        "bytes": memory / count,
    }


def main():
    work, count, workers = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    argument = sys.argv[4] if len(sys.argv) > 4 else ""
    for key, value in asyncio.run(measure(work, count, workers, argument)).items():
        print(key, value)


if __name__ == "__main__":
    main()
