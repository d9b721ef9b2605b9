package annbench

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the engines side by side at the target recall, and what the peers say about their builds.
func (r *Result) WriteTable(w io.Writer) error {
	for _, engine := range slices.Sorted(maps.Keys(r.Info)) {
		info := r.Info[engine]
		fmt.Fprintf(w, "%s:", engine)
		for _, key := range slices.Sorted(maps.Keys(info)) {
			fmt.Fprintf(w, " %s=%s", key, info[key])
		}
		fmt.Fprintln(w)
	}
	summaries := Summarise(r.Rows, r.Target)
	if len(summaries) == 0 {
		return nil
	}
	ours := summaries[0] // the first engine that Run measures
	fmt.Fprintf(w, "\nat recall@%d = %.3g (interpolated; build: the fastest that keeps %.0f %% of the QPS)\n", r.K, r.Target, 100*buildKeeps)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "engine\tqps\tours ÷ it\tp99 µs\tpoint\tbuild/s\tours ÷ it\tbuild\tbytes/vector\trecall up to")
	for _, s := range summaries {
		if s.QPS == 0 {
			fmt.Fprintf(t, "%s\tnever\t\t\t\t\t\t\t\t%.4f\n", s.Name, s.Peak)
			continue
		}
		fmt.Fprintf(t, "%s\t%.0f\t%.2f\t%.0f\tM=%d efc=%d ef=%d\t%.0f\t%.2f\tM=%d efc=%d\t%.0f\t%.4f\n", s.Name, s.QPS, ours.QPS/s.QPS,
			s.Row.P99us, s.Row.Params.M, s.Row.Params.Efc, s.Row.Params.Ef, s.Build, ours.Build/s.Build, s.Built.M, s.Built.Efc, s.Row.Bytes, s.Peak)
	}
	return t.Flush()
}

// WriteRows writes every point measured as a table.
func (r *Result) WriteRows(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "engine\tindex\tM\tefc\tef\trecall\tqps\tp99 µs\tbuild/s\tbytes/vector\t")
	for _, p := range r.Rows {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%.4f\t%.0f\t%.0f\t%.0f\t%.0f\t\n", p.Engine, p.Params.Index, p.Params.M, p.Params.Efc,
			p.Params.Ef, p.Recall, p.QPS, p.P99us, p.Build, p.Bytes)
	}
	return t.Flush()
}

// WriteJSON writes the rows as one line: {"results": [...]}.
func (r *Result) WriteJSON(w io.Writer) error {
	rows := r.Rows
	if rows == nil {
		rows = []Row{}
	}
	var line strings.Builder
	if err := json.NewEncoder(&line).Encode(map[string][]Row{"results": rows}); err != nil {
		return fmt.Errorf("annbench: %w", err)
	}
	_, err := io.WriteString(w, line.String())
	return err
}
