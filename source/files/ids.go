package files

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/zeebo/xxh3"
)

// deletedContent stands in an event id where the digest of the content does otherwise.
const deletedContent = "deleted"

// digest of a file's content. The zero digest stands for a content that is not known.
type digest [16]byte

func digestOf(content []byte) digest { return xxh3.Hash128(content).Bytes() }

func parseDigest(s string) (d digest, err error) {
	if len(s) != hex.EncodedLen(len(d)) {
		return d, fmt.Errorf("digest %q has not %d digits", s, hex.EncodedLen(len(d)))
	}
	_, err = hex.Decode(d[:], []byte(s))
	return d, err
}

// eventID names event number n of the folder.
func (st *state) eventID(n uint64, content string) string {
	return fmt.Sprintf("%s.%d.%s", st.id, n, content)
}

// parseEventID reads an id that eventID made; ours is false for any other.
func (st *state) parseEventID(id string) (n uint64, content digest, ours bool) {
	rest, ours := strings.CutPrefix(id, st.id+".")
	number, tail, ok := strings.Cut(rest, ".")
	if !ours || !ok {
		return 0, content, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil {
		return 0, content, false
	}
	if tail == deletedContent {
		return n, content, true
	}
	content, err = parseDigest(tail)
	return n, content, err == nil
}
