package wire

import (
	"encoding/binary"
	"fmt"

	"github.com/freshet-io/freshet"
)

// AppendExpiry appends the key under which the log notes that an entity expires at a time, ms: they
// sort by time.
func AppendExpiry(b []byte, at int64, key freshet.Key) []byte {
	return AppendKey(binary.BigEndian.AppendUint64(b, uint64(at)), key)
}

// ParseExpiry is the inverse of AppendExpiry.
func ParseExpiry(b []byte) (at int64, key freshet.Key, err error) {
	if len(b) < 8 {
		return 0, key, fmt.Errorf("expiry %x is malformed", b)
	}
	key, err = ParseKey(b[8:])
	return int64(binary.BigEndian.Uint64(b)), key, err
}
