package process

import (
	"context"
	"fmt"
	"testing"

	"github.com/freshet-io/freshet/broker/journal"
)

// sparse is a log whose offsets are not dense, as where marks of transactions stand between records.
type sparse struct{ reads [][2]int64 } // from and to of each read

func (s *sparse) Next(_ context.Context, buf []journal.Record, _ int) ([]journal.Record, error) {
	if len(s.reads) == 0 {
		panic("it reads what is not there yet")
	}
	for at := s.reads[0][0]; at < s.reads[0][1]; at += 3 {
		buf = append(buf, journal.Record{Offset: at})
	}
	s.reads = s.reads[1:]
	return buf, nil
}

func (s *sparse) Offset() int64 {
	if len(s.reads) == 0 {
		return 30
	}
	return s.reads[0][0]
}

func (*sparse) Close() error { return nil }

// A fold takes what stands below its end, whatever offsets are missing, and goes on with the next one where it was.
func TestRawReaderEndsWhereItIsTo(t *testing.T) {
	r := &rawReader{reader: &sparse{[][2]int64{{0, 10}, {12, 13}, {15, 28}}}}
	got := ""
	for _, end := range []int64{7, 7, 8, 13, 20, 30} {
		for {
			list, err := r.below(t.Context(), end, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 0 {
				break
			}
			for _, rec := range list {
				got += fmt.Sprint(rec.Offset, " ")
			}
			got += ", "
		}
		got += "| "
	}
	if want := "0 3 , 6 , | | | 9 , 12 , | 15 18 , | 21 24 , 27 , | "; got != want {
		t.Errorf("it gives %q, want %q", got, want)
	}
}
