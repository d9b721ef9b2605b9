package wire

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/freshet-io/freshet"
)

const (
	tokenFormat = 1
	// MaxTokenBytes is the longest token that is read.
	MaxTokenBytes = 64 << 10
)

// TokenString is the form in which users hold a token.
func TokenString(t freshet.Token) string {
	b := make([]byte, 0, 16+8*len(t.Spans))
	b = append(b, tokenFormat)
	b = append(b, t.Log[:]...)
	topic := freshet.TopicRaw
	for _, s := range t.Spans {
		if s.Topic == topic {
			b = append(b, 0) // the same topic as before
		} else {
			b = appendString(b, s.Topic)
			topic = s.Topic
		}
		b = binary.AppendUvarint(b, uint64(uint32(s.Partition)))
		b = binary.AppendUvarint(b, uint64(s.Last))
		b = binary.AppendUvarint(b, uint64(s.Last-s.First))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// ParseToken reads what TokenString wrote.
func ParseToken(s string) (freshet.Token, error) {
	var t freshet.Token
	if len(s) > MaxTokenBytes {
		return t, fmt.Errorf("the token has %d bytes, at most %d are read", len(s), MaxTokenBytes)
	}
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return t, errors.New("the token is not one that freshet gave out; pass it on as it came")
	}
	d := Decoder{rest: b}
	if f := d.Byte(); f != tokenFormat && len(b) > 0 {
		return t, fmt.Errorf("the token has format %d, this version reads %d", f, tokenFormat)
	}
	copy(t.Log[:], d.Take(uint64(len(t.Log))))
	topic := freshet.TopicRaw
	for len(d.rest) > 0 && !d.bad {
		if name := d.String(); name != "" {
			topic = name
		}
		partition, last, back := d.Uvarint(), d.Uvarint(), d.Uvarint()
		if partition > math.MaxInt32 || last > math.MaxInt64 || back > last {
			d.bad = true
		}
		sp := freshet.Span{Topic: topic, Partition: int32(partition), First: int64(last - back), Last: int64(last)}
		if n := len(t.Spans); n > 0 && compareSpan(t.Spans[n-1], sp) >= 0 {
			d.bad = true
		}
		t.Spans = append(t.Spans, sp)
	}
	if d.bad {
		return freshet.Token{}, errors.New("the token is cut off or altered; pass it on as it came")
	}
	return t, nil
}

func compareSpan(a, b freshet.Span) int {
	if c := strings.Compare(a.Topic, b.Topic); c != 0 {
		return c
	}
	return int(a.Partition) - int(b.Partition)
}

// Spans are those of n places in a topic, in order of partition: at tells the i-th place. Places of a partition come in order.
func Spans(topic string, n int, at func(i int) (partition int32, offset int64)) []freshet.Span {
	var spans []freshet.Span
	known := map[int32]int{}
	for i := range n {
		partition, offset := at(i)
		k, ok := known[partition]
		if !ok {
			k, known[partition] = len(spans), len(spans)
			spans = append(spans, freshet.Span{Topic: topic, Partition: partition, First: offset})
		}
		spans[k].Last = offset
	}
	slices.SortFunc(spans, compareSpan)
	return spans
}

// MergeTokens returns the token that is decided once both are. Tokens of different logs
// can't be merged.
func MergeTokens(a, b freshet.Token) (freshet.Token, error) {
	if len(a.Spans) == 0 {
		return b, nil
	}
	if len(b.Spans) == 0 {
		return a, nil
	}
	if a.Log != b.Log {
		return a, fmt.Errorf("tokens of two logs, %s and %s, can't be waited for together", LogIDString(a.Log), LogIDString(b.Log))
	}
	all := slices.Concat(a.Spans, b.Spans)
	slices.SortStableFunc(all, compareSpan)
	merged := all[:0]
	for _, s := range all {
		if n := len(merged); n > 0 && compareSpan(merged[n-1], s) == 0 {
			merged[n-1].First = min(merged[n-1].First, s.First)
			merged[n-1].Last = max(merged[n-1].Last, s.Last)
			continue
		}
		merged = append(merged, s)
	}
	return freshet.Token{Log: a.Log, Spans: merged}, nil
}

// LogIDString is the form of a log's identity in messages and files.
func LogIDString(id freshet.LogID) string { return hex.EncodeToString(id[:]) }

// ParseLogID reads what LogIDString wrote.
func ParseLogID(s string) (freshet.LogID, error) {
	var id freshet.LogID
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("log id %q is not %d hexadecimal digits", s, 2*len(id))
	}
	copy(id[:], b)
	return id, nil
}
