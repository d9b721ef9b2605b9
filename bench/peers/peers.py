"""The peers of `freshet bench`: one index per process, driven by JSON lines.

Started with: peers.py CPU METRIC BASE.fvecs QUERIES.fvecs. Every request is a line on standard input, every answer a line
on standard output. Results are written as raw int64 ids to the file that the request names. Times are processor seconds
of this process; searches and builds run on one thread.
"""

import ctypes
import gc
import json
import os
import sys
import time

# One thread everywhere, also where a library asks the environment before anybody can tell it.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = "1"

import numpy as np

BATCH = 1000  # vectors per call while building


def read_fvecs(path):
    raw = np.fromfile(path, dtype="<i4")
    dim = raw[0]
    return np.ascontiguousarray(raw.reshape(-1, dim + 1)[:, 1:].view("<f4"))


def resident_bytes():
    """Resident memory, after memory that is free inside the allocator has been given back."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Hnswlib:
    """hnswlib: float32. Cosine comes as inner product of normalised vectors, its cheapest form."""

    def __init__(self, dim, metric, capacity, m, efc, index, replace):
        import hnswlib

        self.index = hnswlib.Index(space="l2" if metric == "l2" else "ip", dim=dim)
        self.index.init_index(max_elements=capacity, M=m, ef_construction=efc, allow_replace_deleted=replace)
        self.index.set_num_threads(1)
        # A label that comes back while a deleted vector still bears it confuses replace_deleted, so that under change every
        # vector gets a new label. ids says which id a label stands for.
        self.labels, self.ids = ({}, np.zeros(0, dtype=np.int64)) if replace else (None, None)

    def add(self, vectors, ids):
        if self.labels is None:
            self.index.add_items(vectors, ids, num_threads=1)
            return
        self.delete([i for i in ids.tolist() if i in self.labels])
        labels = np.arange(len(self.ids), len(self.ids) + len(ids))
        self.ids = np.concatenate([self.ids, ids.astype(np.int64)])
        self.labels.update(zip(ids.tolist(), labels.tolist()))
        self.index.add_items(vectors, labels, num_threads=1, replace_deleted=True)

    def delete(self, ids):
        for i in ids:
            self.index.mark_deleted(self.labels.pop(int(i)))

    def set_ef(self, ef):
        self.index.set_ef(ef)

    def search(self, queries, k):
        found = self.index.knn_query(queries, k=k, num_threads=1)[0]
        return found if self.labels is None else self.ids[found]

    def info(self):
        import hnswlib

        return {"module": os.path.basename(hnswlib.__file__), "march": march(), "cflags": compile_flags(sys.prefix)}


def march():
    """The processor that the environment was made for: install.sh leaves a note."""
    try:
        with open(sys.prefix + "/hnswlib-march") as note:
            return note.read().strip()
    except OSError:
        return "native"


def compile_flags(root):
    """The options of the compiler call that made hnswlib, from the log of its installation, else those of its setup.py."""
    try:
        with open(root + "/hnswlib-build.log", errors="replace") as log:
            for line in log:
                if "bindings.cpp" in line and " -c " in line:
                    return " ".join(w for w in line.split() if w.startswith(("-O", "-m", "-std", "-f", "-D")))
    except OSError:
        pass
    import sysconfig

    return (sysconfig.get_config_var("CFLAGS") or "") + " (plus -O3 -march=native of hnswlib's setup.py)"


class Faiss:
    """faiss: IndexHNSWFlat, IndexHNSWSQ (8 bit), and the latter with exact re-ranking."""

    def __init__(self, dim, metric, capacity, m, efc, index, replace):
        import faiss

        faiss.omp_set_num_threads(1)
        if march() == "haswell" and hasattr(faiss, "SIMDConfig"):
            faiss.SIMDConfig.set_level(faiss.SIMDLevel_AVX2)
        self.faiss = faiss
        kind = faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT
        self.outer = None
        if index == "HNSWFlat":
            self.index = faiss.IndexHNSWFlat(dim, m, kind)
        else:
            self.index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, m, kind)
        if index == "HNSWSQ8+Refine":
            self.outer = faiss.IndexRefineFlat(self.index)
            self.outer.k_factor = 3
        self.index.hnsw.efConstruction = efc

    def train(self, vectors):
        (self.outer or self.index).train(vectors)

    def add(self, vectors, ids):
        (self.outer or self.index).add(vectors)  # ids are the places, in order

    def set_ef(self, ef):
        self.index.hnsw.efSearch = ef

    def search(self, queries, k):
        return (self.outer or self.index).search(queries, k)[1]

    def info(self):
        config = getattr(self.faiss, "SIMDConfig", None)
        level = str(config.get_level_name()) if config and hasattr(config, "get_level_name") else ""
        return {"version": self.faiss.__version__, "compile_options": self.faiss.get_compile_options().strip(), "simd_level": level}


class Usearch:
    """usearch: float32 or int8 scalars."""

    def __init__(self, dim, metric, capacity, m, efc, index, replace):
        from usearch.index import Index

        # int8 needs the cosine metric, which scales vectors to the range of the scalars.
        name = {"l2": "l2sq", "inner_product": "ip", "cosine": "cos" if index == "i8" else "ip"}[metric]
        self.index = Index(ndim=dim, metric=name, dtype=index, connectivity=m, expansion_add=efc, expansion_search=64)

    def add(self, vectors, ids):
        self.index.add(ids, vectors, threads=1)

    def delete(self, ids):
        self.index.remove(np.asarray(ids, dtype=np.uint64))

    def set_ef(self, ef):
        self.index.expansion_search = ef

    def search(self, queries, k):
        return np.atleast_2d(self.index.search(queries, k, threads=1).keys)

    def info(self):
        import usearch

        return {"version": usearch.__version__, "hardware_acceleration": str(self.index.hardware_acceleration)}


ENGINES = {"hnswlib": Hnswlib, "faiss": Faiss, "usearch": Usearch}


class Server:
    def __init__(self, cpu, metric, base, queries):
        if cpu >= 0:
            os.sched_setaffinity(0, {cpu})
        self.metric = metric
        self.base = read_fvecs(base)
        self.queries = read_fvecs(queries)
        if metric == "cosine":  # once, outside every clock
            for m in (self.base, self.queries):
                m /= np.linalg.norm(m.astype(np.float64), axis=1, keepdims=True).astype(np.float32)
        self.engine = None

    def open(self, r):
        """Makes an empty index with room for r["capacity"] vectors."""
        self.engine = ENGINES[r["engine"]](
            self.base.shape[1], self.metric, r["capacity"], r["m"], r["efc"], r.get("index", ""), r.get("replace", False)
        )
        return self.engine.info()

    def build(self, r):
        """Adds all base vectors, with their places as ids."""
        n = len(self.base)
        gc.collect()
        before, wall, cpu = resident_bytes(), time.perf_counter(), time.process_time()
        if hasattr(self.engine, "train"):
            self.engine.train(self.base)
        for i in range(0, n, BATCH):
            part = self.base[i : i + BATCH]
            self.engine.add(part, np.arange(i, i + len(part), dtype=np.uint64))
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {"cpu_s": cpu, "wall_s": wall, "bytes": resident_bytes() - before}

    def apply(self, r):
        """Deletes r["delete"], then adds the base rows r["rows"] under the ids r["ids"]."""
        ids, rows = np.array(r["ids"], dtype=np.uint64), np.array(r["rows"], dtype=np.int64)
        vectors = self.base[rows]
        wall, cpu = time.perf_counter(), time.process_time()
        if r["delete"]:
            self.engine.delete(r["delete"])
        if len(ids):
            self.engine.add(vectors, ids)
        return {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}

    def search(self, r):
        """Searches all queries at once, again and again until r["seconds"] have passed; returns seconds per round."""
        self.engine.set_ef(r["ef"])
        first, rounds, used = None, 0, 0.0
        while rounds == 0 or used < r["seconds"]:
            cpu = time.process_time()
            ids = self.engine.search(self.queries, r["k"])
            used += time.process_time() - cpu
            rounds += 1
            first = ids if first is None else first
        if r.get("out"):
            np.ascontiguousarray(first).astype(np.int64).tofile(r["out"])
        return {"cpu_s": used, "queries": rounds * len(self.queries)}

    def latency(self, r):
        """Searches queries one call each; returns wall microseconds, Python's share included."""
        self.engine.set_ef(r["ef"])
        times = []
        for q in self.queries:
            q = q.reshape(1, -1)
            start = time.perf_counter()
            self.engine.search(q, r["k"])
            times.append(time.perf_counter() - start)
        return {"p50_us": 1e6 * float(np.percentile(times, 50)), "p99_us": 1e6 * float(np.percentile(times, 99))}


def main():
    cpu, metric, base, queries = sys.argv[1:]
    server = Server(int(cpu), metric, base, queries)
    print(json.dumps({"ok": True, "python": sys.version.split()[0]}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(server, {"open": "open", "build": "build", "apply": "apply", "search": "search", "latency": "latency"}[request["op"]])(request)
        except Exception as e:  # the other end decides what an engine's failure means
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
