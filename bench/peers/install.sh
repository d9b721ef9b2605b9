#!/bin/sh
# Installs the peers of `freshet bench ann` and `make bench-kafka-throughput` into a virtual environment: install.sh DIR [MARCH]
#
# hnswlib is built from source for this processor (or for MARCH, e.g. haswell for AVX2 only), so that it has AVX-512 where
# the processor does; how it was compiled is kept in DIR/hnswlib-build.log. faiss and usearch choose at run time.
set -eu
dir=${1:?usage: install.sh DIR [MARCH]}
march=${2:-native}
python3 -m venv "$dir"
"$dir/bin/pip" install --quiet --disable-pip-version-check \
	numpy==2.4.6 pybind11==3.0.1 setuptools==80.9.0 wheel==0.45.1 faiss-cpu==1.15.1 usearch==2.26.6 \
	confluent-kafka==2.16.1 faust-streaming==0.15.3 orjson==3.13.0
# hnswlib's own -march=native is switched off, so that the flags given here are the only ones.
HNSWLIB_NO_NATIVE=1 CFLAGS="-O3 -march=$march" CXXFLAGS="-O3 -march=$march" \
	"$dir/bin/pip" install --verbose --disable-pip-version-check --no-cache-dir --no-binary hnswlib \
	--no-build-isolation --force-reinstall --no-deps hnswlib==0.8.0 >"$dir/hnswlib-build.log" 2>&1 ||
	{ tail -30 "$dir/hnswlib-build.log" >&2; exit 1; }
echo "$march" >"$dir/hnswlib-march"
"$dir/bin/python" -c 'import hnswlib, faiss, usearch, confluent_kafka, faust, orjson'
