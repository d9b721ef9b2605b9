package dataset

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A sentence of fewer words has too little meaning, and one of more bytes than this is cut by the writer's mistake.
const (
	minWords    = 3
	maxTextSize = 2000
)

// corpus is distinct sentences in the order of their files.
type corpus struct {
	seen  map[string]bool
	texts []string
}

// readCorpus reads the texts of the shared data: posts, abstracts, sentence pairs, command pages, products.
func readCorpus(shared string) (*corpus, error) {
	c := &corpus{seen: map[string]bool{}}
	data := filepath.Join(shared, "data")
	for _, read := range []func() error{
		func() error { return c.readCSV(filepath.Join(data, "reddit_top_a", "posts_by_time.csv"), 3, 4) },
		func() error { return c.readCSV(filepath.Join(data, "stsb", "stsb-en-train.csv"), 0, 1) },
		func() error { return c.readCSV(filepath.Join(data, "stsb", "stsb-en-dev.csv"), 0, 1) },
		func() error { return c.readCSV(filepath.Join(data, "online_retail", "catalogue.csv"), 1) },
		func() error { return c.readJSONLines(filepath.Join(data, "vaswani", "corpus.jsonl"), "text") },
		func() error {
			return c.readJSONLines(filepath.Join(data, "tldr_history", "changes_2013_2020.jsonl"), "text")
		},
		func() error {
			return c.readJSONLines(filepath.Join(data, "retail_demo_store", "products.jsonl"), "name", "description")
		},
	} {
		if err := read(); err != nil {
			return nil, fmt.Errorf("dataset: texts: %w", err)
		}
	}
	return c, nil
}

func (c *corpus) readCSV(path string, columns ...int) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r := csv.NewReader(bufio.NewReader(f))
	r.FieldsPerRecord, r.LazyQuotes, r.ReuseRecord = -1, true, true
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, i := range columns {
			if i < len(record) {
				c.add(record[i])
			}
		}
	}
}

func (c *corpus) readJSONLines(path string, fields ...string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for d := json.NewDecoder(bufio.NewReader(f)); ; {
		var record map[string]any
		if err := d.Decode(&record); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		for _, name := range fields {
			if s, ok := record[name].(string); ok {
				c.add(s)
			}
		}
	}
}

// add adds the sentences of a text that are long enough and new.
func (c *corpus) add(text string) {
	for _, s := range strings.FieldsFunc(text, func(r rune) bool { return r == '.' || r == '\n' || r == '?' || r == '!' }) {
		words := strings.Fields(s)
		s = strings.ToLower(strings.Join(words, " "))
		if len(words) < minWords || len(s) > maxTextSize || c.seen[s] {
			continue
		}
		c.seen[s] = true
		c.texts = append(c.texts, strings.Clone(s))
	}
}

// split returns parts texts: the whole, and beyond the first, equal slices of its words.
func split(text string, parts int) []string {
	out := []string{text}
	words := strings.Fields(text)
	for i := range parts - 1 {
		from, to := i*len(words)/(parts-1), (i+1)*len(words)/(parts-1)
		if from == to {
			out = append(out, text)
		} else {
			out = append(out, strings.Join(words[from:to], " "))
		}
	}
	return slices.Clip(out)
}
