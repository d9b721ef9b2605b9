package transfer

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Form is the form of a file of records.
type Form string

// The forms.
const (
	NDJSON  Form = "ndjson"  // a JSON object a line
	JSON    Form = "json"    // an array of objects, or objects one after another
	CSV     Form = "csv"     // with a header; commas, semicolons or tabs
	Parquet Form = "parquet" // a row is a record
)

// Forms are the names of all forms.
func Forms() []string { return []string{string(NDJSON), string(JSON), string(CSV), string(Parquet)} }

// compressions by the ending of a file's name.
var compressions = map[string]string{".gz": "gzip", ".zst": "zstd"}

// FormOf returns the form that name says, or, if that is empty, the one that the ending of the file does: NDJSON where it says
// nothing. compression is "", "gzip" or "zstd".
func FormOf(file, name string) (form Form, compression string, err error) {
	ext := strings.ToLower(filepath.Ext(file))
	if compression = compressions[ext]; compression != "" {
		ext = strings.ToLower(filepath.Ext(file[:len(file)-len(ext)]))
	}
	switch {
	case slices.Contains(Forms(), name):
		form = Form(name)
	case name != "":
		return "", "", fmt.Errorf("--format is %q; it can be %s", name, strings.Join(Forms(), ", "))
	case ext == ".json":
		form = JSON
	case ext == ".csv" || ext == ".tsv":
		form = CSV
	case ext == ".parquet" || ext == ".pq":
		form = Parquet
	default:
		form = NDJSON
	}
	if form == Parquet && compression != "" {
		return "", "", fmt.Errorf("%s: a Parquet file is compressed inside; unpack it first", file)
	}
	return form, compression, nil
}
