// Package peers runs other vector indexes (hnswlib, faiss, usearch) beside ours: through their own Python packages, in a
// virtual environment that Install makes, each index in a process of its own.
//
// A Process reads vectors from fvecs files and obeys requests of one JSON line each; peers.py, which is part of the
// binary, is its other end. Peers are called in batches, on one thread, pinned to one processor, and their clock is the
// processor time of their process. What they answer is judged by the caller: results come back as ids only.
//
// A Process of [StartStream] fills its index from a topic of Kafka instead: streams.py.
package peers
