package demo

import (
	"fmt"
	"strings"
	"time"
)

// instructions say what to open and what to try. The commands work as they are printed.
func instructions(o Options) string {
	var sb strings.Builder
	search := func(what, body string) {
		fmt.Fprintf(&sb, "\n  # %s\n  curl -s %s/v1/search -d '%s'\n", what, o.Server, body)
	}
	fmt.Fprintf(&sb, `
Open  %s  in a browser: search while the stream goes on, and watch it.
About %.0f events a second come in. Try in another terminal:
`, o.Server, o.Rate)
	search("products by what they are for", `{"collection":"products","text":"boots for wet trails","k":3}`)
	search("customers who are after something like it at this moment", `{"collection":"sessions","text":"boots for wet trails","k":3}`)
	search("with a filter on the price, which changes as you look",
		`{"collection":"products","text":"a gift for someone who cooks","filter":{"range":{"price":{"lt":50}}},"k":3}`)
	search("the files below "+o.Watching+"; save one and search again", `{"collection":"files","text":"how to run the tests","k":3}`)
	entity := fmt.Sprintf("'%s/v1/entities/%s?collection=%s'", o.Server, Sample, Products)
	fmt.Fprintf(&sb, "\n  # one product; then delete it, and get it again\n  curl -s %s\n  curl -s -X DELETE %s\n\n", entity, entity)
	fmt.Fprintf(&sb, "Every %.0f s the demo changes a product and searches until a hit shows the change. ", probePeriod.Seconds())
	if o.For == 0 {
		sb.WriteString("Ctrl-C ends it.")
	}
	return strings.TrimRight(sb.String(), " ") + "\n\n"
}

// statusLine says how it goes; probes are the times of the demo's own changes, oldest first.
func statusLine(s stats, rate float64, probes []time.Duration) string {
	line := fmt.Sprintf("%s events, %s/s", grouped(s.Accepted), grouped(int64(rate+0.5)))
	if s.LagRecords > int64(rate) {
		line += fmt.Sprintf(", %s behind", grouped(s.LagRecords))
	}
	line += fmt.Sprintf(" | searchable after %s (p99 %s)", figure(s.FreshnessMs.P50), figure(s.FreshnessMs.P99))
	if n := len(probes); n > 0 {
		line += fmt.Sprintf(" | own change found after %s (median %s)", inMs(probes[n-1]), inMs(median(probes)))
	}
	if s.DeadLetters > 0 {
		line += fmt.Sprintf(" | %s dead letters", grouped(s.DeadLetters))
	}
	return line
}

// overwrite makes a line replace the one that the cursor is in. While it is written the
// terminal does not wrap, so that a narrow one cuts it off.
func overwrite(line string) string { return "\r\x1b[2K\x1b[?7l" + line + "\x1b[?7h" }

func inMs(d time.Duration) string {
	v := float64(d.Microseconds()) / 1000
	return figure(&v)
}

// figure writes milliseconds with about three digits.
func figure(ms *float64) string {
	switch {
	case ms == nil:
		return "–"
	case *ms < 100:
		return fmt.Sprintf("%.1f ms", *ms)
	case *ms < 10_000:
		return fmt.Sprintf("%.0f ms", *ms)
	}
	return fmt.Sprintf("%.1f s", *ms/1000)
}

func (s Summary) text() string {
	var sb strings.Builder
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&sb, "  %-22s "+format+"\n", append([]any{name}, args...)...)
	}
	sb.WriteString("\nSummary\n")
	row("events accepted", "%s", grouped(s.Accepted))
	row("not yet decided", "%s", grouped(s.Lag))
	row("entities searchable", "%s", grouped(s.Entities))
	row("accepted → searchable", "p50 %s, p99 %s, over the last seconds", figure(s.P50), figure(s.P99))
	row("own changes", "%d found, %d not; %s from sending to the first search with it (median)", s.Changes-s.Missed, s.Missed, inMs(s.Median))
	switch {
	case !s.Audited:
		row("audit", "not finished within %.0f s; `freshet audit --data DIR` takes its time", finishWait.Seconds())
	case s.Clean:
		row("audit", "clean: log, table and indexes agree")
	default:
		row("audit", "%s differences", grouped(s.Found))
	}
	return sb.String()
}
