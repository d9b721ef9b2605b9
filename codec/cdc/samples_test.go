package cdc_test

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/freshet-io/freshet/codec/cdc"
)

var update = flag.Bool("update", false, "write testdata/samples.txt anew")

// TestSamples reads every event of the samples of Debezium, Canal and Aliyun; testdata/samples.txt says what it is.
func TestSamples(t *testing.T) {
	shared := os.Getenv("FRESHET_SHARED")
	if shared == "" {
		shared = filepath.Join("..", "..", "..", "shared")
	}
	samples := filepath.Join(shared, "data", "cdc_formats")
	if _, err := os.Stat(samples); err != nil {
		t.Skipf("no samples: %v (set FRESHET_SHARED)", err)
	}
	var got strings.Builder
	err := filepath.WalkDir(samples, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name, err := filepath.Rel(samples, path)
		if err != nil {
			return err
		}
		o, ok := optionsOf(name)
		if !ok {
			return nil
		}
		d, err := cdc.New(o)
		if err != nil {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fmt.Fprintf(&got, "%s %s\n", name, d.Describe())
		for _, event := range eventsOf(name, raw) {
			got.WriteString(outcome(d, event))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/samples.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	is, should := strings.Split(got.String(), "\n"), strings.Split(string(want), "\n")
	for i := range max(len(is), len(should)) {
		if i >= len(is) || i >= len(should) || is[i] != should[i] {
			t.Fatalf("line %d of %d is\n%s\nwant, of %d lines,\n%s", i+1, len(is), strings.Join(is[min(i, len(is)):min(i+1, len(is))], ""),
				len(should), strings.Join(should[min(i, len(should)):min(i+1, len(should))], ""))
		}
	}
}

// optionsOf are those that a user would give for a sample; ok is false for other things in the folder.
func optionsOf(name string) (o cdc.Options, ok bool) {
	in := func(part string) bool { return strings.Contains(filepath.ToSlash(name), part) }
	o.Format = cdc.Debezium
	switch {
	case in("paimon/canal"):
		o.Format = cdc.Canal
		if in("/incomplete/canal-data-1") {
			o.Key = []string{"k"}
		}
	case in("paimon/aliyun"):
		o.Format = cdc.Aliyun
	case in("debezium-bson"):
	case in("unwrapped"):
		o.Flat, o.Key = true, []string{"id"}
	case in("_key.") && !in("oracle_19"):
		o.Flat = true
	case in("oracle"):
		o.Key = []string{"ID"}
	case in("alltype"):
		o.Key = []string{"_id"}
	case in("paimon/debezium"), strings.HasPrefix(name, "debezium"):
		o.Key = []string{"id"}
	default:
		return o, false
	}
	return o, true
}

// eventsOf cuts a sample into events. Those of BSON are lines of key and value in turn, one whose value is a document alone; a key
// is shown with a tombstone.
func eventsOf(name string, raw []byte) (events []string) {
	if strings.Contains(name, "_key.") && !strings.Contains(name, "oracle_19") {
		return []string{fmt.Sprintf(`{"key":%s,"value":null}`, raw)}
	}
	if !strings.HasPrefix(name, "paimon") {
		return []string{string(raw)}
	}
	for line := range bytes.Lines(raw) {
		if line = bytes.TrimSpace(line); bytes.HasPrefix(line, []byte("{")) {
			events = append(events, string(line))
		}
	}
	if !strings.Contains(name, "debezium-bson") {
		return events
	}
	var records []string
	for i := 0; i+1 < len(events); i += 2 {
		value := events[i+1]
		if strings.HasSuffix(name, "event-bson.txt") {
			value = fmt.Sprintf(`{"op":"c","after":%q}`, strings.Replace(value, `"id"`, `"_id"`, 1))
		}
		records = append(records, fmt.Sprintf(`{"key":%s,"value":%s}`, events[i], value))
	}
	return records
}

// outcome is what a decoder makes of an event, for people.
func outcome(d *cdc.Decoder, event string) string {
	rows, err := d.Decode([]byte(event))
	switch {
	case err != nil:
		return fmt.Sprintf("  refused: %v\n", err)
	case len(rows) == 0:
		return "  dropped\n"
	}
	var b strings.Builder
	for i := range rows {
		r := &rows[i]
		fmt.Fprintf(&b, "  %s %s at %d", r.Op, r.Entity(), r.Timestamp)
		if r.EventID != "" {
			fmt.Fprintf(&b, " event %s", r.EventID)
		}
		if r.Order != 0 {
			fmt.Fprintf(&b, " order %d", r.Order)
		}
		fmt.Fprintf(&b, "\n    row %s\n", cdc.AppendObject(nil, r.After))
		if r.Before != nil && r.Op == cdc.Update {
			fmt.Fprintf(&b, "    before %s\n", cdc.AppendObject(nil, r.Before))
		}
		var texts []string
		for _, c := range r.After {
			if c.Text {
				texts = append(texts, c.Name)
			}
		}
		fmt.Fprintf(&b, "    text %q\n", texts)
	}
	return b.String()
}
