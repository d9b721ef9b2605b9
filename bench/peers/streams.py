"""The job of freshet on Kafka as one writes it in Python, driven by JSON lines like peers.py.

Started with: streams.py KIND BROKERS RAW SYNC GROUP DIM M EFC CAPACITY QUERIES.fvecs. The topic RAW has the seed's JSON
{event_id, entity_id, timestamp, payload, vector, op}, keyed by entity; entity ids are decimal numbers, vectors have length 1.
Both kinds end up with the latest state of each entity, in memory: an hnswlib index and the payloads.

batched: confluent-kafka in batches; of each the last event of an entity counts, add_items has two threads. Repeated event ids and
unchanged content are recognised, by what is in memory.
faust: one event at a time, by way of SYNC, the compacted topic; every event is an upsert.

Nothing but Kafka's offsets outlives the process.
"""

import asyncio
import json
import os
import sys
import time

import hnswlib
import numpy as np
import orjson

from peers import read_fvecs

BATCH = 4096  # events per call of the consumer


class Store:
    """The latest state of each entity. What is deleted or replaced stays in the graph, marked: that is hnswlib's fastest way."""

    def __init__(self, dim, m, efc, capacity, threads):
        self.index = hnswlib.Index(space="ip", dim=dim)
        self.index.init_index(max_elements=capacity, M=m, ef_construction=efc)
        self.threads = threads
        self.labels = {}  # of entities
        self.payloads = {}
        self.numbers = np.zeros(capacity, dtype=np.int64)  # the entity of a label
        self.next = 0

    def remove(self, entity):
        label = self.labels.pop(entity, None)
        if label is not None:
            self.index.mark_deleted(label)
            del self.payloads[entity]

    def upsert(self, entities, vectors, payloads):
        for e in entities:
            self.remove(e)
        labels = np.arange(self.next, self.next + len(entities))
        self.next += len(entities)
        self.index.add_items(vectors, labels, num_threads=self.threads)
        self.numbers[labels] = [int(e) for e in entities]
        self.labels.update(zip(entities, labels.tolist()))
        self.payloads.update(zip(entities, payloads))

    def search(self, queries, k, ef):
        self.index.set_ef(ef)
        return self.numbers[self.index.knn_query(queries, k=k, num_threads=2)[0].astype(np.int64)]


class Batched:
    def __init__(self, o):
        from confluent_kafka import Consumer

        self.store = Store(o.dim, o.m, o.efc, o.capacity, threads=2)
        self.seen = set()  # event ids
        self.content = {}  # the vector of an entity, as bytes
        self.consumer = Consumer(
            {
                "bootstrap.servers": o.brokers,
                "group.id": o.group,
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
                "queued.max.messages.kbytes": 262144,
                "fetch.message.max.bytes": 16777216,
            }
        )
        self.consumer.subscribe([o.raw])
        while not self.consumer.assignment():
            self.consumer.poll(0.1)

    async def consume(self, events):
        begun = None
        while events > 0:
            messages = self.consumer.consume(BATCH, timeout=0.05)
            if not messages:
                continue
            begun = begun or time.perf_counter()
            events -= len(messages)
            self.take(messages)
            self.consumer.commit(asynchronous=False)
        return time.perf_counter() - begun

    def take(self, messages):
        latest = {}
        for m in messages:
            if m.error():
                raise RuntimeError(m.error())
            event = orjson.loads(m.value())
            if event["event_id"] not in self.seen:
                self.seen.add(event["event_id"])
                latest[event["entity_id"]] = event
        entities, vectors, payloads = [], [], []
        for entity, event in latest.items():
            if event.get("op") == "delete":
                self.store.remove(entity)
                self.content.pop(entity, None)
                continue
            vector = np.array(event["vector"], dtype=np.float32)
            content = vector.tobytes()
            if self.content.get(entity) == content:
                self.store.payloads[entity] = event["payload"]
                continue
            self.content[entity] = content
            entities.append(entity)
            vectors.append(vector)
            payloads.append(event["payload"])
        if entities:
            self.store.upsert(entities, np.stack(vectors), payloads)

    def run(self, obey):
        asyncio.run(obey())


class Faust:
    def __init__(self, o):
        import faust

        self.store = Store(o.dim, o.m, o.efc, o.capacity, threads=1)
        self.app = app = faust.App(
            o.group, broker="kafka://" + o.brokers, store="memory://", web_enabled=False, topic_replication_factor=1, datadir=o.dir
        )
        raw, sync = app.topic(o.raw, key_serializer="raw"), app.topic(o.sync, key_serializer="raw")
        self.done, self.wanted, self.begun, self.more = 0, 0, None, asyncio.Event()

        @app.agent(raw)
        async def process(events):
            async for event in events:
                self.begun = self.begun or time.perf_counter()
                change = {
                    "entity_id": event["entity_id"],
                    "vector": None if event.get("op") == "delete" else event["vector"],
                    "timestamp": event["timestamp"],
                    "metadata": {"source_event_id": event["event_id"], "payload": event.get("payload")},
                }
                await sync.send(key=event["entity_id"].encode(), value=change)

        @app.agent(sync)
        async def upsert(changes):
            async for change in changes:
                entity = change["entity_id"]
                if change["vector"] is None:
                    self.store.remove(entity)
                else:
                    vector = np.array([change["vector"]], dtype=np.float32)
                    self.store.upsert([entity], vector, [change["metadata"]])
                self.done += 1
                self.more.set()

    async def consume(self, events):
        self.wanted += events
        while self.done < self.wanted:
            self.more.clear()
            await self.more.wait()
        took, self.begun = time.perf_counter() - self.begun, None
        return took

    def run(self, obey):
        import faust

        self.app.task(obey)
        faust.Worker(self.app, loglevel="WARN", redirect_stdouts=False).execute_from_commandline()


class Options:
    def __init__(self, brokers, raw, sync, group, dim, m, efc, capacity, queries):
        self.brokers, self.raw, self.sync, self.group = brokers, raw, sync, group
        self.dim, self.m, self.efc, self.capacity = int(dim), int(m), int(efc), int(capacity)
        self.queries = read_fvecs(queries)
        self.dir = os.path.dirname(os.path.abspath(__file__))


def main():
    out = os.fdopen(os.dup(1), "w")  # for answers alone: Faust prints too
    os.dup2(2, 1)
    kind, options = sys.argv[1], Options(*sys.argv[2:])
    engine = {"batched": Batched, "faust": Faust}[kind](options)

    def say(answer):
        print(json.dumps(answer), file=out, flush=True)

    async def consume(r):
        return {"wall_s": await engine.consume(r["events"]), "live": len(engine.store.labels)}

    async def search(r):
        ids = engine.store.search(options.queries, r["k"], r["ef"])
        np.ascontiguousarray(ids).tofile(r["out"])
        return {"queries": len(ids)}

    async def obey():
        say({"ok": True})
        while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
            request = json.loads(line)
            try:
                say(await {"consume": consume, "search": search}[request["op"]](request))
            except Exception as e:  # the other end decides what a failure means
                say({"error": f"{type(e).__name__}: {e}"})
        os._exit(0)  # Faust would wait for its group

    engine.run(obey)


if __name__ == "__main__":
    main()
