#!/usr/bin/env python3
"""Plants one bug at a time in the call path and asks the simulator to find it.

A mutant is a file of the product with one piece of text changed; it must stand there exactly once, so that a
mutant that no longer means anything is an error. The file is copied, changed, compiled, and linked in front of
the libraries that the simulator is made of: the product itself is never touched. `./dev sim --mutants`.
"""
import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
RUNS = 3000
SECONDS = 240


@dataclasses.dataclass
class Mutant:
    name: str
    file: str
    old: str
    new: str


MUTANTS = [
    Mutant("session: a permit is not given back", "session/session.c",
           "    permit_give(&worker->env->connections, 1);\n", ""),
    Mutant("session: half-closed is closed", "session/session_fsm.c",
           "ON(OPEN, END, LAST, FINISH)", "ON(OPEN, END, CLOSED, CLOSE)"),
    Mutant("session: a frame may take for ever", "session/session_clock.c",
           "at = earlier(at, session->frame_begun_ms + bootstrap->timeouts.frame_timeout_ms);",
           ";"),
    Mutant("session: limits.pipelined_calls passed by one", "session/session.c",
           "caller->calls_len >= session_bootstrap", "caller->calls_len > session_bootstrap"),
    Mutant("replies: the order is lost", "session/session_replies.c",
           "return head->state == CALL_STATE_HELD ? head : NULL;",
           "(void)head; return container_of(node, struct call, waits);"),
    Mutant("replies: a kept one is not copied", "session/session_replies.c",
           "if (!call_keep_reply(call)) {", "call->outcome.kept = true; if (false) {"),
    Mutant("call: a permit is not given back", "call/call.c",
           "        permit_give(&worker->env->calls, 1);\n", ""),
    Mutant("call: its deadline is never armed", "call/call.c",
           "        worker_timer_set(call->worker, &call->timer, at);\n",
           "        worker_timer_set(call->worker, &call->timer, UINT64_MAX);\n"),
    Mutant("call: its timer is not cancelled", "call/call.c",
           "    worker_timer_cancel(worker, &call->timer);\n    message_done(",
           "    message_done("),
    Mutant("call: its route is not let go", "call/call.c",
           "        route_unref(worker->routes, call->plan.route);\n", ""),
    Mutant("call: the reply keeps the callee's seqid", "call/call.c",
           "    wire_put32(reply->body + reply->seqid_off, "
           "(uint32_t)call->request.message.seqid);\n", ""),
    Mutant("call: bad messages are carried", "session/session_reader.c",
           "begin_call(session, &frame, verdict == FRAME_BAD);",
           "begin_call(session, &frame, false);"),
    Mutant("call: rules find the one that waited in the list", "call/call.c",
           "        list_remove(node); /* what", "        /* what"),
    Mutant("account: a call is counted twice", "call/account.c",
           "    call->outcome.accounted = true;\n    struct tuple_counts",
           "    struct tuple_counts"),
    Mutant("caller's share: a call stays in it", "call/call.c",
           "        caller_share_add(&worker->share, call->plan.route->caller_slot, -1);\n", "        ;\n"),
    Mutant("concurrency: passed by one", "route/stage_concurrency.c",
           "permit_take(&route->limits->calls, 1, limit_of(route))",
           "permit_take(&route->limits->calls, 1, limit_of(route) + 1)"),
    Mutant("stages: what a shadowed one did not take is given back", "route/stage.c",
           "        holders &= ~bit;\n", ""),
    Mutant("breaker: a probe that says nothing keeps its slot", "call/account.c",
           "    if (taken & STAGE_TELLS) {", "    if ((taken & STAGE_TELLS) && result) {"),
    Mutant("breaker: a probe ends like any call", "call/account.c",
           ".is_probe = (taken & STAGE_PROBE) != 0,", ".is_probe = false,"),
    Mutant("breaker: two probes at once", "../../lb/breaker.c",
           "if (lb_breaker_is_probing(word) || now_ms", "if (now_ms"),
    Mutant("ejection: a trial that says nothing keeps its slot", "route/ejection.c",
           "        endpoint_trial_give(state);\n", ""),
    Mutant("ejection: the last one goes, too", "../../lb/ejection.c",
           "allowed < n ? allowed : n > 0 ? n - 1 : 0", "allowed"),
    Mutant("ejection: a trial that failed goes on", "../../lb/ejection.c",
           "return word_of(LB_EJECT_OUT, times", "return word_of(LB_EJECT_OUT | (word & LB_EJECT_TRIAL), times"),
    Mutant("balance: the slot of a trial is not noted", "route/stage_balance.c",
           "        ctx->taken |= STAGE_TRIAL;\n", ""),
    Mutant("account: the breaker is told twice", "call/account.c",
           "    call->plan.taken = 0;\n", ""),
    Mutant("attempt: not in flight any more, still counted", "call/attempt.c",
           "    atomic_fetch_sub_explicit(&attempt->endpoint->inflight, 1, "
           "memory_order_relaxed);\n", ""),
    Mutant("attempt: its object is lost", "call/attempt.c",
           "    slab_give(&attempt->call->worker->attempts, attempt);\n", "    (void)attempt;\n"),
    Mutant("retry: what was sent is sent again for free", "call/retry.c",
           "failure->unsent &&\n           attempt", "attempt"),
    Mutant("retry: what was sent is sent again", "call/retry.c",
           "(failed && attempt->lease.failure.unsent)", "failed"),
    Mutant("retry: one more than retry.attempts", "call/retry.c",
           "call->retries < rules->attempts && is_safe", "call->retries <= rules->attempts && is_safe"),
    Mutant("retry: chains are not stopped", "call/retry.c", " && !is_stopped(call);\n}\n\nstatic bool is_free",
           ";\n}\n\nstatic bool is_free"),
    Mutant("retry: the next hop is not told", "call/edits.c", "if (attempt->repeats && listener", "if (false && listener"),
    Mutant("retry: the exception that it replaces stays in memory", "call/call.c",
           "    if (result == ATTEMPT_REPLIED) {\n        buffers_free", "    if (false) {\n        buffers_free"),
    Mutant("retry: a part taken counts as unsent", "upstream/upstream_conn.c",
           "failure.unsent = !upstream_lease_is_taken(conn, lease);",
           "failure.unsent = !upstream_lease_is_sent(conn, lease);"),
    Mutant("lease: a late reply meets another call", "upstream/lease.c",
           "if (lease->state < LEASE_SENDING) {", "if (lease->state <= LEASE_SENT) {"),
    Mutant("pipeline: replies in any order", "upstream/upstream_mux.c",
           "if (!mux->ordered || upstream_order_take(&mux->order, seqid)) {",
           "if (!mux->ordered || upstream_order_take(&mux->order, seqid) || upstream_mux_find(mux, seqid)) {"),
    Mutant("pipeline: what was taken back keeps its place", "upstream/lease.c",
           "    if (back && conn->mux) {", "    if (back && conn->mux && !conn->mux->ordered) {"),
    Mutant("pipeline: who has ended gives up its place", "upstream/lease.c",
           "    mux->unanswered++;\n",
           "    mux->unanswered++;\n    if (mux->ordered && mux->order.n > 1) { mux->order.head++; mux->order.n--; }\n"),
    Mutant("mux: a late reply is no reply", "upstream/upstream_mux.c",
           "    mux->unanswered -= late;\n    return late;", "    mux->unanswered -= late;\n    return false;"),
    Mutant("mux: who has ended holds its number", "upstream/upstream_mux.c",
           "        *slot_of(mux, lease->seqid) = NULL;\n", "        ;\n"),
    Mutant("mux: bytes in front of others' go with their call", "upstream/lease.c",
           "lease->state == LEASE_SENT || lease->stuck || channel_own(&lease->conn->channel)", "true"),
    Mutant("mux: what is stuck goes with its call", "upstream/upstream_conn.c",
           "        keep_requests(conn);\n        return false;", "        keep_requests(conn);\n        return true;"),
    Mutant("mux: a part taken counts as unsent", "upstream/upstream_reply.c",
           "return sent ? NULL :", "sent = upstream_lease_is_sent(conn, lease);\n    return sent ? NULL :"),
    Mutant("pool queue: one that left is still counted", "upstream/pool_queue.c",
           "    permit_give(&pool->endpoint->waiting, 1);\n", ""),
    Mutant("pool queue: a worker's bit stays", "upstream/pool_queue.c",
           "        atomic_fetch_and(&pool->endpoint->waiting_workers, ~own_bit(pool));\n", ""),
    Mutant("pool queue: max_waiting passed by one", "upstream/pool_queue.c",
           "permit_take(&pool->endpoint->waiting, 1, config->pool.max_waiting)",
           "permit_take(&pool->endpoint->waiting, 1, config->pool.max_waiting + 1)"),
    Mutant("pool: other workers are not woken", "upstream/pool.c",
           "    pool_wake_others(pool);\n    pool->conns--;", "    pool->conns--;"),
    Mutant("pool: a failed connect keeps its permit", "upstream/pool.c",
           "        pool_give_permit(pool);\n        pool_wake_others(pool);\n        upstream_conn_ref",
           "        upstream_conn_ref"),
    Mutant("pool: more than max_idle stay", "upstream/pool_exclusive.c",
           "idle_ms > POOL_SURPLUS_MS && is_surplus(pool, conn)", "false"),
    Mutant("pool shared: calls beside ONEWAY messages", "upstream/pool.c",
           "    return conn->kind != UPSTREAM_KIND_ONEWAY && kind_of(lease) == conn->kind && !conn->tainted &&",
           "    return !conn->tainted &&"),
    Mutant("pool shared: an idle one serves calls", "upstream/pool_exclusive.c",
           "    if (!conn->shared) { /* a shared one stays in its list */\n"
           "        list_push_front(&pool->idle, &conn->in_pool);\n    }\n",
           "    list_remove(&conn->in_pool);\n    list_push_front(&pool->idle, &conn->in_pool);\n"),
    Mutant("pool: an idle one keeps its permit of idle", "upstream/pool_exclusive.c",
           "        permit_give(&pool->endpoint->idle, 1);\n        counter_sub",
           "        counter_sub"),
    Mutant("upstream: the seqid of a reply is not looked at", "upstream/upstream_reply.c",
           "if (message->seqid != lease->seqid) {", "if (false) {"),
    Mutant("pool: the idle timer of one that is busy again", "upstream/pool_exclusive.c",
           "    if (!conn->counted_idle) {", "    if (false) {"),
    Mutant("upstream: answered once, answered for ever", "upstream/upstream_conn.c",
           "        atomic_fetch_sub_explicit(&pool->endpoint->answered, 1, memory_order_relaxed);\n",
           "        ;\n"),
    Mutant("channel: what is left is not kept", "io/channel.c",
           "if (!channel->ops->pin(channel) && outq_own_rest(&channel->out)) {",
           "if (!channel->ops->pin(channel) && false) {"),
    Mutant("channel: bytes taken are not noticed", "io/channel.c",
           "    catch_up(channel);\n    if (channel->closed) {", "    if (channel->closed) {"),
    Mutant("outq: a part sent is sent again", "io/outq.c",
           "first->ptr += bytes; /*", "/*"),
    Mutant("outq: pieces made one lie over each other", "io/outq.c",
           "        memcpy(block + off, at(q, i)->ptr, at(q, i)->len);\n"
           "        off += at(q, i)->len;\n",
           "        memcpy(block + off, at(q, i)->ptr, at(q, i)->len);\n"),
    Mutant("intake: half a frame is held for ever", "io/intake.c",
           "    intake->worker->incomplete_bytes -= intake->kept_bytes;\n", ""),
    Mutant("buffers: a block that grew is charged twice", "loop/buffers.c",
           "    credit(buffers, before);\n", "    (void)before;\n"),
    Mutant("worker: the last turn's blocks are not freed", "loop/worker.c",
           "    buffers_pile_free(&worker->buffers, &worker->pile);\n    set_phase",
           "    set_phase"),
    Mutant("worker: bytes that wait are not looked at first", "loop/worker.c",
           "    return worker->looked;", "    return false;"),
    Mutant("block cache: a block is given twice", "loop/block_cache.c", "    if (block) {\n        class->spare = block->next;\n", "    if (block) {\n"),
    Mutant("block cache: a block that grew is not whole", "loop/block_cache.c",
           "memcpy(moved, block, before < bytes ? before : bytes);", "memcpy(moved, block, (before < bytes ? before : bytes) / 2);"),
    Mutant("pool warm: a descriptor is not counted", "upstream/pool_warm.c", "if (pool_take_descriptor(worker)) {", "if (true) {"),
    Mutant("unframed: a reply goes out without its head", "io/channel.c", "if (apart && !push_head(channel, message->len)) {",
           "if (apart && false && !push_head(channel, message->len)) {"),
    Mutant("unframed: what is behind a message is lost", "io/frame_reader.c",
           "    in->pos += in->bad ? in->bad_len : total;", "    in->pos = in->bad ? in->pos + in->bad_len : in->len;"),
    Mutant("ttheader: what the first bytes were taken for is kept", "io/frame_reader.c",
           "        reader->input->has_head = false;\n        reader->input->head.is_begun = false;\n    }\n}\n\nconst char",
           "    }\n}\n\nconst char"),
    Mutant("ttheader: a reply has another sequence", "call/header.c", ".sequence = asked->sequence,", ".sequence = 1,"),
    Mutant("ttheader: a reply has the other form", "call/header.c",
           ".is_inner_framed = asked->is_inner_framed}", ".is_inner_framed = !asked->is_inner_framed}"),
    Mutant("ttheader: a reply that passes has another sequence", "call/header.c",
           "    codec_ttheader_set_sequence(p, asked->sequence);\n", ""),
    Mutant("ttheader: a reply with crrst passes", "call/header.c",
           "!call->outcome.has_header || call->outcome.says_end || draining", "!call->outcome.has_header || draining"),
    Mutant("ttheader: crrst is passed on", "call/header.c", "    if (call->outcome.has_header && plan_reply(",
           "    edits[0].value = \"1\"; edits[0].value_len = 1;\n    if (call->outcome.has_header && plan_reply("),
    Mutant("ttheader: crrst is not obeyed", "upstream/upstream_reply.c", "conn->tainted = ending ||", "conn->tainted ="),
    Mutant("ttheader: its budget is not rewritten", "call/header.c",
           "        list->at[list->len++] = (struct codec_ttheader_edit){.key = edit->key.name,",
           "        if (edit->in_text == USER_EXTRA_DEADLINE) continue;\n"
           "        list->at[list->len++] = (struct codec_ttheader_edit){.key = edit->key.name,"),
    Mutant("ttheader: its mark is not seen", "call/identify.c",
           "    call->request.is_repeated |= texts[HEADER_TEXT_RETRY].p != NULL;\n", ""),
    Mutant("user_extra: its budget is not seen", "call/identify.c",
           "            extras->value[EXTRA_DEADLINE + i] = user_extra_value(text, which);\n", "            ;\n"),
    Mutant("user_extra: its mark is not seen", "call/identify.c",
           "    call->request.is_repeated |= user_extra_has(text, USER_EXTRA_RETRY);\n", ""),
    Mutant("user_extra: its length stays", "../../codec/rewrite.c",
           "    wire_put32(length, wire_get32(length) - old_len + scratch_since(rewrite, ins_off));\n", "    (void)length; (void)old_len; (void)ins_off;\n"),
    Mutant("timer wheel: one level is forgotten", "loop/timer_wheel.c",
           "    if (level >= TIMER_WHEEL_LEVELS) {", "    if (level >= TIMER_WHEEL_LEVELS - 3) {"),
    Mutant("slab: a block in use counts as empty", "loop/slab.c",
           "    slab->empty -= block->taken == 0;\n", ""),
    Mutant("route: endpoints stay referenced", "route/target_set.c",
           "(void)endpoint_state_unref(set->endpoints[i]);", ";"),
]


def place(mutant):
    """Its file, and what that holds; the text to be changed stands there once."""
    path = (ROOT / "sidecar/data" / mutant.file).resolve()
    text = path.read_text()
    if text.count(mutant.old) != 1:
        sys.exit(f"{mutant.name}: its text stands {text.count(mutant.old)} times in {path.relative_to(ROOT)}")
    return path, text


def slug(name):
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


class Builder:
    def __init__(self, build):
        self.build = build
        self.out = build / "mutants"
        self.out.mkdir(exist_ok=True)
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compile = {entry["file"]: entry["command"] for entry in commands}
        link = subprocess.run(["ninja", "-C", str(build), "-t", "commands", "sim"], check=True,
                              capture_output=True, text=True).stdout.splitlines()[-1]
        self.link = link.split("&&")[1].strip()

    def source(self, mutant):
        path, text = place(mutant)
        changed = self.out / f"{slug(mutant.name)}.c"
        changed.write_text(text.replace(mutant.old, mutant.new))
        return path, changed

    def make(self, mutant):
        path, changed = self.source(mutant)
        words = shlex.split(self.compile[str(path)])
        command = [w for w in words[:words.index("-o")] if not w.startswith("-M")]
        obj = changed.with_suffix(".o")
        subprocess.run(command + ["-w", "-o", str(obj), "-c", str(changed)], check=True,
                       cwd=self.build)
        words = shlex.split(self.link)
        at = words.index("-o")
        binary = changed.with_suffix("")
        words[at + 1:at + 2] = [str(binary), str(obj)]
        subprocess.run(words, check=True, cwd=self.build)
        return binary


def hunt(binary):
    """What the simulator says: (seed, calls, invariant), or None where it finds nothing."""
    ran = subprocess.run([str(binary), "--runs", str(RUNS), "--seconds", str(SECONDS), "--no-shrink"],
                         capture_output=True, text=True)
    found = re.search(r"FAILED seed (\d+), step \d+, (\d+) calls so far: ([^:\n]+)", ran.stdout)
    if not found:
        return None
    what = found.group(3)
    if what == "assert":
        lines = re.findall(r"Assertion `(.+)' failed|(impossible.+)", ran.stderr)
        what = "assert" + (f" `{lines[-1][0] or lines[-1][1]}`" if lines else "")
    return found.group(1), found.group(2), what


def main():
    if sys.argv[1:] == ["--check"]:
        for mutant in MUTANTS:
            place(mutant)
        return
    build = pathlib.Path(sys.argv[1]).resolve()
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    builder = Builder(build)
    missed = 0
    print("| mutant | seed | calls | what broke |\n| --- | --- | --- | --- |", flush=True)
    for mutant in MUTANTS:
        if wanted not in mutant.name:
            continue
        started = time.monotonic()
        found = hunt(builder.make(mutant))
        missed += found is None
        seed, calls, what = found or ("-", "-", "NOT FOUND")
        print(f"| {mutant.name} | {seed} | {calls} | {what} |", flush=True)
        print(f"{time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
