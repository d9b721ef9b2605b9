package annbench

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// MemoryRow is what an index takes per vector, and the recall that it reaches.
type MemoryRow struct {
	Index    string  `json:"index"`
	Stats    float64 `json:"stats_bytes"`    // by the index's own account
	Resident float64 `json:"resident_bytes"` // by which the process grew
	Ef       int     `json:"ef"`             // the smallest of the sweep with the target recall, or the one with the most
	Recall   float64 `json:"recall"`
	QPS      float64 `json:"qps"`
	Build    float64 `json:"build_per_s"`
}

// Memory builds the indexes one after the other and measures what each takes per vector.
func Memory(ctx context.Context, set *dataset.Set, list []ann.Options, k, cpu int, target float64, log io.Writer) ([]MemoryRow, error) {
	scorer, err := newScorer(set, k)
	if err != nil {
		return nil, err
	}
	undo, err := oneThread(cpu)
	if err != nil {
		return nil, err
	}
	defer undo()
	var rows []MemoryRow
	for _, opt := range list {
		row, err := memory(ctx, newOwn(set, opt), scorer, k, target)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(log, "%-16s %.0f bytes\n", row.Index, row.Resident)
		rows = append(rows, row)
	}
	return rows, nil
}

func memory(ctx context.Context, e *own, s *scorer, k int, target float64) (MemoryRow, error) {
	defer e.close()
	row := MemoryRow{Index: e.params().Index}
	seconds, bytes, err := e.build(ctx)
	if err != nil {
		return row, err
	}
	n := float64(e.ix.Len())
	row.Stats, row.Resident, row.Build = float64(e.ix.Stats().Bytes)/n, float64(bytes)/n, n/seconds
	for _, ef := range DefaultEf() {
		answers, err := e.answers(ef, k)
		if err != nil {
			return row, err
		}
		if recall := s.recall(answers); recall > row.Recall {
			row.Ef, row.Recall = ef, recall
		}
		if row.Recall >= target || ctx.Err() != nil {
			break
		}
	}
	const secondsPerPoint = 0.5
	t, err := e.search(row.Ef, k, secondsPerPoint)
	row.QPS = t.perSecond()
	return row, err
}

// WriteMemory writes rows as a table.
func WriteMemory(w io.Writer, rows []MemoryRow) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "index\tbytes/vector by Stats\tresident\trecall\tef\tqps\tbuild/s")
	for _, r := range rows {
		fmt.Fprintf(t, "%s\t%.0f\t%.0f\t%.4f\t%d\t%.0f\t%.0f\n", r.Index, r.Stats, r.Resident, r.Recall, r.Ef, r.QPS, r.Build)
	}
	return t.Flush()
}
