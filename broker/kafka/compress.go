package kafka

import (
	"bytes"

	"github.com/twmb/franz-go/pkg/kgo"
)

// How batches of records are compressed.
const (
	// CompressAuto is CompressSnappy for what it makes a good deal smaller, which a part of each batch shows, and nothing for the rest: the numbers
	// of vectors, as text or as bytes, stay what they are, and to try costs a tenth of what their whole way through the log does.
	CompressAuto   = "auto"
	CompressNone   = "none"
	CompressSnappy = "snappy"
	CompressLz4    = "lz4"
	CompressZstd   = "zstd"
)

// compressions are what franz-go has for each of them.
var compressions = map[string]kgo.CompressionCodec{
	CompressNone: kgo.NoCompression(), CompressSnappy: kgo.SnappyCompression(), CompressLz4: kgo.Lz4Compression(), CompressZstd: kgo.ZstdCompression(),
}

// compression is what a client compresses with.
func (o Options) compression() (kgo.Opt, error) {
	if codec, ok := compressions[o.Compression]; ok {
		return kgo.ProducerBatchCompression(codec), nil
	}
	snappy, err := kgo.DefaultCompressor(kgo.SnappyCompression())
	return kgo.WithCompressor(&sampling{snappy}), err
}

// sampling compresses what a sample of it says is worth it. It is safe for concurrent use.
type sampling struct{ kgo.Compressor }

const (
	sampleBytes = 4 << 10 // from the middle
	// A batch is compressed if its sample becomes smaller than 3/4 of what it was.
	sampleNum, sampleDen = 3, 4
)

// Compress implements [kgo.Compressor].
func (s *sampling) Compress(dst *bytes.Buffer, src []byte, flags ...kgo.CompressFlag) ([]byte, kgo.CompressionCodecType) {
	if len(src) > sampleBytes {
		from := (len(src) - sampleBytes) / 2
		sample, _ := s.Compressor.Compress(dst, src[from:from+sampleBytes], flags...)
		if len(sample)*sampleDen > sampleBytes*sampleNum {
			return src, kgo.CodecNone
		}
		dst.Reset()
	}
	return s.Compressor.Compress(dst, src, flags...)
}
