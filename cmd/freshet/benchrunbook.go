package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
	"github.com/freshet-io/freshet/bench/peers"
	"github.com/freshet-io/freshet/bench/runbook"
)

// runbookFlags are the flags of freshet bench runbook.
type runbookFlags struct {
	data                  dataFlags
	generate              string
	points, m, efc        int
	engines, venv, choose string
	asJSON                bool
	o                     runbook.Options
}

func newBenchRunbook() *cobra.Command {
	var f runbookFlags
	cmd := &cobra.Command{
		Use:   "runbook FILE",
		Short: "Recall under change: replay a runbook of inserts, deletes, replacements and searches",
		Long: "Replays a runbook in the format of the streaming track of NeurIPS'23 and scores every search against the exact\n" +
			"answer of that moment. ef is the smallest that gives --target on a fresh index of the first search step.\n" +
			"With --generate a runbook is printed instead; bench/README.md says what each tests.\n\n" +
			"  freshet bench runbook --generate sliding_window --points 80000 > window.yaml\n" +
			"  freshet bench runbook window.yaml --data easy --engines freshet,hnswlib",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.generate != "" {
				book, err := runbook.Generate(f.generate, f.points, f.data.source.Seed)
				if err != nil {
					return err
				}
				return book.Write(cmd.OutOrStdout())
			}
			if len(args) != 1 {
				return fmt.Errorf("name the runbook, or make one with --generate")
			}
			raw, err := os.ReadFile(args[0])
			if err != nil {
				return err
			}
			book, err := runbook.Parse(raw, f.choose)
			if err != nil {
				return err
			}
			return f.run(cmd.Context(), book, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	fl := cmd.Flags()
	f.data.add(cmd, 0)
	fl.StringVar(&f.generate, "generate", "", "print a runbook: "+strings.Join(runbook.Generators(), ", "))
	fl.IntVar(&f.points, "points", 80_000, "rows of a generated runbook; a quarter of them is live at once")
	fl.StringVar(&f.choose, "dataset", "", "`NAME` of the data set in the file, when it has several")
	fl.StringVar(&f.engines, "engines", "freshet", "engines side by side: freshet, hnswlib, or kinds of our index, such as flat or hnsw/float16")
	fl.StringVar(&f.venv, "venv", peers.DefaultVenv, "`DIR` of the virtual environment with the peers")
	fl.IntVar(&f.m, "m", ann.DefaultM, "links per point")
	fl.IntVar(&f.efc, "efc", ann.DefaultEfConstruction, "candidates while building")
	fl.IntVar(&f.o.K, "k", 10, "neighbours")
	fl.IntVar(&f.o.Ef, "ef", 0, "candidates while searching (default: the smallest that gives --target at first)")
	fl.Float64Var(&f.o.Target, "target", 0.98, "recall of the first search step")
	fl.IntVar(&f.o.Fresh, "fresh", 0, "compare with a fresh index at every so many-th search step; 0 for never")
	fl.BoolVar(&f.asJSON, "json", true, "print the results as JSON on the last line")
	return cmd
}

func (f *runbookFlags) run(ctx context.Context, book *runbook.Runbook, out, log io.Writer) error {
	set, err := f.data.open(book.Rows, true)
	if err != nil {
		return err
	}
	if err := runbook.Prepare(set, book, f.data.source.Seed); err != nil {
		return err
	}
	fmt.Fprintf(log, "%s on %s: %s; %d rows of %d dimensions, at most %d live; %d queries, %v\n", book.Dataset, set.Name, book.Operations(),
		book.Rows, set.Base.Dim, book.MaxPoints, set.Queries.Rows(), set.Metric)
	dir, err := os.MkdirTemp("", "freshet-runbook-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	f.o.Set, f.o.Book, f.o.Log, f.o.Engines = set, book, log, map[string]runbook.Engine{}
	defer func() {
		for _, e := range f.o.Engines {
			e.Close()
		}
	}()
	for name := range strings.SplitSeq(f.engines, ",") {
		name = strings.TrimSpace(name)
		e, err := f.open(ctx, name, dir, set, book)
		if err != nil {
			return err
		}
		f.o.Engines[name] = e
	}
	results, err := runbook.Run(ctx, f.o)
	if err != nil {
		return err
	}
	if err := writeRunbookTable(out, results); err != nil || !f.asJSON {
		return err
	}
	return json.NewEncoder(out).Encode(map[string]any{"runbook": book.Dataset, "data": set.Name, "results": results})
}

// open makes an engine by its name. dir is where a peer's processes find the vectors as long as they are needed.
func (f *runbookFlags) open(ctx context.Context, name, dir string, set *dataset.Set, book *runbook.Runbook) (runbook.Engine, error) {
	if name == "hnswlib" {
		base, queries := filepath.Join(dir, "base.fvecs"), filepath.Join(dir, "queries.fvecs")
		if err := dataset.WriteFvecs(base, set.Base); err != nil {
			return nil, err
		}
		if err := dataset.WriteFvecs(queries, set.Queries); err != nil {
			return nil, err
		}
		return runbook.NewPeer(ctx, peers.Options{Venv: f.venv, CPU: -1, Metric: set.Metric.String(), Base: base, Queries: queries},
			peers.Index{Engine: name, Index: "f32", M: f.m, Efc: f.efc, Capacity: book.MaxPoints}, set.Queries.Rows())
	}
	opt := ann.Options{M: f.m, EfConstruction: f.efc}
	if name != "freshet" {
		kind, precision, found := strings.Cut(name, "/")
		var err error
		if opt.Kind, err = ann.ParseKind(kind); err != nil {
			return nil, err
		}
		if found {
			if opt.Precision, err = ann.ParsePrecision(precision); err != nil {
				return nil, err
			}
		}
		if opt.Kind == ann.HNSWDisk {
			opt.Dir = dir
		}
	}
	return runbook.NewIndex(set, opt)
}

func writeRunbookTable(out io.Writer, results []*runbook.Result) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "engine\tef\tmean\tmin (step)\tp1\tfirst quarter\tlast quarter\tdrift\tgap to fresh\tfresh min\tnewest\tdead\tduplicate\tshort\tchanges/s")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%.4f\t%.4f (%d)\t%.2f\t%.4f\t%.4f\t%+.4f\t%s\t%s\t%s\t%d\t%d\t%d\t%.0f\n", r.Engine, r.Ef, r.Mean, r.Min, r.MinStep, r.P1,
			r.FirstQuarter, r.LastQuarter, r.Drift, optional(r.FreshGap), optional(r.FreshMin), optional(r.Newest), r.Dead, r.Duplicate, r.Short, r.ChangesPerS)
	}
	return t.Flush()
}

func optional(v *float64) string {
	if v == nil {
		return "–"
	}
	return fmt.Sprintf("%.4f", *v)
}
