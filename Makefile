# make demo runs the main job on a live stream; make test runs the tests; make check is what CI runs.

VERSION    := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2

# Packages whose tests are long or CPU-bound run without the race detector; what they drive
# runs with it in the tests of the packages themselves.
PLAIN := ./e2e ./sim ./embed/static ./bench ./bench/annbench ./bench/dataset ./bench/runbook ./demo
RACE   = $(filter-out $(patsubst ./%,github.com/freshet-io/freshet/%,$(PLAIN)),$(shell go list ./...))

.PHONY: build demo test sim chaos bench-kafka bench-kafka-throughput bench-kafka-scale test-arm64 check format vet lint bench peers clean need-go want-java

build: need-go
	go build -ldflags "-X main.version=$(VERSION)" -o bin/freshet ./cmd/freshet

demo: build
	./bin/freshet demo

test: need-go want-java
	go test -race -timeout 40m $(RACE)
	go test -timeout 60m $(PLAIN)

check: format vet lint test

format: need-go
	@files=$$(gofmt -l .); test -z "$$files" || { echo "not formatted (run gofmt -w):"; echo "$$files"; exit 1; }

vet: need-go
	go vet ./...

# The kernels for arm64, and indexes built with them, under emulation: qemu-aarch64 is in Debian's package qemu-user.
test-arm64: need-go
	@command -v qemu-aarch64 >/dev/null || { echo "skipped: qemu-aarch64 is not installed"; exit 0; }; \
	set -e; dir=$$(mktemp -d); trap 'rm -rf "$$dir"' EXIT; \
	for p in ann/internal/kernel ann; do GOARCH=arm64 go test -c -o $$dir/$$(basename $$p).test ./$$p; done; \
	for cpu in max cortex-a53; do \
		(cd ann/internal/kernel && qemu-aarch64 -cpu $$cpu $$dir/kernel.test); \
		(cd ann && qemu-aarch64 -cpu $$cpu $$dir/ann.test -test.short -test.run 'TestKernels|TestLoadOther|TestModel/cosine/hnsw'); \
	done

# A simulation of crashes, from a random seed on, until one of them fails or SEEDS have passed: hours by default.
SEEDS ?= 1000000
sim: need-go
	FRESHET_SIM_SEEDS=$(SEEDS) go test ./sim -run 'TestCrash$$' -count=1 -timeout 0 -v

# Processes and brokers of a Kafka are killed for so many seconds with either delivery, while so many events and the history of a handbook are
# written; what the processes say goes below bin/chaos. Needs Java, Maven and ../shared/data.
CHAOS ?= 600
CHAOS_EVENTS ?= 200000
chaos: build
	mkdir -p bin/chaos
	FRESHET_BIN=$(CURDIR)/bin/freshet FRESHET_TEST_REQUIRE=1 FRESHET_CHAOS_NODES=3 FRESHET_CHAOS_SECONDS=$(CHAOS) FRESHET_CHAOS_EVENTS=$(CHAOS_EVENTS) \
		go test ./e2e -run 'TestKafkaChaos$$' -count=1 -timeout 0 -v -artifacts -outputdir $(CURDIR)/bin/chaos

# Latency and failover on a real Kafka, as JSON; needs Java and Maven.
bench-kafka: build
	$(BENCH_KAFKA) 'TestKafka(Latency|Failover)$$'

# Events per second from events.raw into the index, beside the same job in Python (batched, and with Faust); what a million events cost with one,
# two and four processes. JSON; FRESHET_KAFKA_ENTITIES, _EVENTS, _EFC and _ROUNDS set other sizes.
BENCH_KAFKA = FRESHET_BIN=$(CURDIR)/bin/freshet FRESHET_TEST_REQUIRE=1 FRESHET_KAFKA_FIGURES=1 go test ./e2e -count=1 -timeout 0 -v -run
bench-kafka-throughput: build
	@test -x $${FRESHET_PEERS:-.venv/peers}/bin/python || ./bin/freshet bench peers install
	$(BENCH_KAFKA) 'TestKafkaThroughput$$'

bench-kafka-scale: build
	$(BENCH_KAFKA) 'TestKafkaScale$$'

lint: need-go
	go run $(STATICCHECK) ./...

bench: build
	./bin/freshet bench freshness
	./bin/freshet bench ingest

# peers installs what `freshet bench ann` and bench-kafka-throughput compare with into .venv/peers: hnswlib, faiss, usearch, confluent-kafka, Faust.
peers: build
	./bin/freshet bench peers install

clean:
	rm -rf bin

need-go:
	@command -v go >/dev/null || { echo "missing: go 1.26 or newer (https://go.dev/dl)"; exit 1; }

want-java:
	@for c in java mvn; do command -v $$c >/dev/null || echo "missing: $$c; tests on a real Kafka skip (Debian: apt-get install openjdk-17-jre-headless maven)"; done
