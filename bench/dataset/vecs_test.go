package dataset

import (
	"bytes"
	"encoding/binary"
	"testing"
)

func FuzzDecodeVecs(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{1, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{1, 0, 0, 0, 1, 2, 3, 4, 2, 0, 0, 0, 1, 2, 3, 4})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4})
	f.Fuzz(func(t *testing.T, file []byte) {
		dim, words, err := decodeVecs(bytes.NewReader(file), int64(len(file)))
		if err != nil {
			return
		}
		var again []byte
		for i, w := range words {
			if i%dim == 0 {
				again = binary.LittleEndian.AppendUint32(again, uint32(dim))
			}
			again = binary.LittleEndian.AppendUint32(again, w)
		}
		if !bytes.Equal(again, file) {
			t.Fatalf("%d words of dimension %d are not the file", len(words), dim)
		}
	})
}
