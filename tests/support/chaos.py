"""Callers and callees that do everything wrong, at random from a seed; what comes back is held to what was asked."""

from __future__ import annotations

import asyncio
import collections
import random
import socket
import struct
from typing import Optional

from . import wire
from .wait import PATIENCE

ANSWER_S = 15 * PATIENCE  # for a reply that must come


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    length = struct.unpack(">I", await reader.readexactly(4))[0]
    return await reader.readexactly(length)


def reset(writer: asyncio.StreamWriter) -> None:
    try:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass  # gone already
    writer.transport.abort()


class End(Exception):
    """This connection has done its worst."""


# ---- callees -----------------------------------------------------------------------------------


async def answer(_, writer, request, good: bytes) -> None:
    writer.write(good)


async def answer_late(rnd, writer, request, good: bytes) -> None:
    await asyncio.sleep(rnd.random() * 0.15)
    writer.write(good)


async def answer_in_pieces(rnd, writer, request, good: bytes) -> None:
    step = 7 if len(good) < 500 else 20_000
    for at in range(0, len(good), step):
        writer.write(good[at:at + step])
        await asyncio.sleep(0.001)


async def answer_and_end(_, writer, request, good: bytes) -> None:
    writer.write(good)
    writer.close()
    raise End


async def answer_twice(_, writer, request, good: bytes) -> None:
    writer.write(good + good)


async def never_answer(_, writer, request, good: bytes) -> None:
    await asyncio.sleep(3)


async def end_at_once(_, writer, request, good: bytes) -> None:
    writer.close()
    raise End


async def reset_at_once(_, writer, request, good: bytes) -> None:
    reset(writer)
    raise End


async def cut_and_end(_, writer, request, good: bytes) -> None:
    writer.write(good[:len(good) // 2])
    await asyncio.sleep(0.01)
    writer.close()
    raise End


async def cut_and_reset(_, writer, request, good: bytes) -> None:
    writer.write(good[:len(good) // 2])
    await asyncio.sleep(0.01)
    reset(writer)
    raise End


async def answer_another_seqid(_, writer, request, good: bytes) -> None:
    writer.write(wire.reply(request, wire.response("x", "wrong"), seqid=request.seqid ^ 1))


async def answer_another_method(_, writer, request, good: bytes) -> None:
    writer.write(wire.reply(request, wire.response("x", "wrong"), name=b"Other"))


async def answer_garbage(_, writer, request, good: bytes) -> None:
    writer.write(b"\0\0\0\x20" + b"garbage!" * 4)


async def answer_an_absurd_length(_, writer, request, good: bytes) -> None:
    writer.write(b"\x7f\xff\xff\xff")


CALLEES = {answer: 70, answer_late: 6, answer_in_pieces: 6, answer_and_end: 2, answer_twice: 2, never_answer: 1,
           end_at_once: 2, reset_at_once: 3, cut_and_end: 2, cut_and_reset: 2, answer_another_seqid: 1,
           answer_another_method: 1, answer_garbage: 1, answer_an_absurd_length: 1}


# ---- callers: each returns whether the connection goes on once it was answered --------------------


async def send(_, writer, data: bytes) -> bool:
    writer.write(data)
    return True


async def send_in_pieces(_, writer, data: bytes) -> bool:
    step = max(1, len(data) // 5)
    for at in range(0, len(data), step):
        writer.write(data[at:at + step])
        await asyncio.sleep(0.003)
    return True


async def send_and_close_half(_, writer, data: bytes) -> bool:
    writer.write(data)
    writer.write_eof()
    return False


async def send_half_and_close_half(rnd, writer, data: bytes) -> bool:
    writer.write(data[:rnd.randrange(len(data))])
    writer.write_eof()
    return False


async def send_half_and_reset(rnd, writer, data: bytes) -> bool:
    writer.write(data[:rnd.randrange(len(data))])
    await asyncio.sleep(rnd.random() * 0.05)
    reset(writer)
    raise End


async def send_and_reset(rnd, writer, data: bytes) -> bool:
    writer.write(data)
    await asyncio.sleep(rnd.random() * 0.03)
    reset(writer)
    raise End


async def send_and_not_read(_, writer, data: bytes) -> bool:
    writer.write(data)
    await asyncio.sleep(0.7)
    raise End


CALLERS = {send: 66, send_in_pieces: 8, send_and_close_half: 8, send_half_and_close_half: 4, send_half_and_reset: 6,
           send_and_reset: 6, send_and_not_read: 2}


class Chaos:
    """Run inside one asyncio loop. errors: what must not have happened."""

    def __init__(self, seed: int):
        self.rnd = random.Random(seed)
        self.errors: list[str] = []
        self.told: collections.Counter = collections.Counter()  # reasons; None: the callee's answer
        self.sent = 0
        self.stop = False
        self.servers: list = []

    def draw(self, table: dict):
        return self.rnd.choices(list(table), list(table.values()))[0]

    # ---- callees

    async def listen(self, n: int) -> list[str]:
        self.servers = [await asyncio.start_server(self.serve, "127.0.0.1", 0) for _ in range(n)]
        return ["%s:%d" % server.sockets[0].getsockname()[:2] for server in self.servers]

    async def serve(self, reader, writer) -> None:
        try:
            while True:
                await self.serve_one(writer, wire.read_message(await read_frame(reader)))
                await writer.drain()
        except (asyncio.IncompleteReadError, OSError, End):
            pass
        finally:
            writer.close()

    async def serve_one(self, writer, request: wire.Message) -> None:
        left = request.extra.get(wire.REMAIN)
        if left is None or int(left) <= 0:
            self.errors.append(f"the budget passed on is {left!r}")
        if request.type == wire.ONEWAY:
            if self.rnd.random() < 0.2:
                writer.write(wire.reply(request, wire.response("x", "nobody asked")))
            return
        size = request.args.get(1, 2) or 0
        good = wire.reply(request, wire.response("x", request.args.get(1, 1), blob=b"b" * size if size else None))
        await self.draw(CALLEES)(self.rnd, writer, request, good)

    # ---- callers

    async def call_on(self, name: int, address: str) -> None:
        host, port = address.rsplit(":", 1)
        while not self.stop:
            writer: Optional[asyncio.StreamWriter] = None
            try:
                reader, writer = await asyncio.open_connection(host, int(port))
                for _ in range(self.rnd.randint(1, 6)):
                    await self.call(name, reader, writer)
            except (asyncio.IncompleteReadError, OSError, End):
                pass  # refused, drained, idle: the sums show it
            finally:
                if writer:
                    writer.close()

    def some_calls(self, name: int) -> tuple[bytes, list]:
        """Bytes, and what is to be answered: (seqid, what must be said)."""
        data, due = b"", []
        for i in range(self.rnd.choice((1, 1, 1, 2, 5, 40))):
            said, caller = f"{name}/{self.rnd.getrandbits(48):x}", f"app{name % 7}"
            self.sent += 1
            if self.rnd.random() < 0.12:
                data += wire.call("Tell", type_=wire.ONEWAY, say=said, seqid=i, caller=caller)
                continue
            seqid = self.rnd.choice((0, 7, i))
            budget = {wire.REMAIN: str(self.rnd.choice((1, 3, 20, 100)))} if self.rnd.random() < 0.2 else None
            data += wire.call("Visit", say=said, seqid=seqid, caller=caller, extra=budget,
                              number=self.rnd.choice((0, 0, 0, 0, 300_000)),
                              blob=b"q" * 200_000 if self.rnd.random() < 0.05 else None)
            due.append((seqid, said.encode()))
        return data, due

    async def call(self, name: int, reader, writer) -> None:
        data, due = self.some_calls(name)
        goes_on = await self.draw(CALLERS)(self.rnd, writer, data)
        for seqid, said in due:
            try:
                body = await asyncio.wait_for(read_frame(reader), ANSWER_S)
            except asyncio.TimeoutError:
                self.errors.append(f"no answer to {said!r}")
                raise End from None
            self.check(wire.read_message(body), seqid, said)
        if not goes_on:
            raise End

    def check(self, reply: wire.Message, seqid: int, said: bytes) -> None:
        self.told[reply.reason if reply.type == wire.EXCEPTION else None] += 1
        if reply.seqid != seqid:
            self.errors.append(f"seqid {reply.seqid} instead of {seqid}")
        if reply.type == wire.REPLY and reply.args.get(0, 2) != said:
            self.errors.append(f"the answer to {said!r} was {reply.args.get(0, 2)!r}")
        if reply.type == wire.EXCEPTION and reply.reason is None:
            self.errors.append(f"an exception that is not tside's: {reply.exception}")

    async def run(self, address: str, callers: int, seconds: float, meanwhile) -> None:
        """meanwhile() is called, on a thread, five times a second."""
        loop = asyncio.get_running_loop()
        tasks = [asyncio.ensure_future(self.call_on(n, address)) for n in range(callers)]
        end = loop.time() + seconds
        while loop.time() < end:
            await asyncio.sleep(0.2)
            await loop.run_in_executor(None, meanwhile)
        self.stop = True
        done, stuck = await asyncio.wait(tasks, timeout=ANSWER_S + 5)
        self.errors += [repr(task.exception()) for task in done if task.exception()]
        self.errors += ["a caller is stuck"] * len(stuck)
        for server in self.servers:
            server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
