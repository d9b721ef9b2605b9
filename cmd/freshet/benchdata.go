package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/freshet-io/freshet/ann"
	"github.com/freshet-io/freshet/bench/dataset"
)

// dataFlags are the flags that choose a data set, common to all benchmarks of the index.
type dataFlags struct {
	source dataset.Source
	metric string
}

func (f *dataFlags) add(cmd *cobra.Command, n int) {
	s := &f.source
	cmd.Flags().StringVar(&s.Base, "base", "", "`FILE.fvecs` with the vectors (without it they are made: --data)")
	cmd.Flags().StringVar(&s.Queries, "queries", "", "`FILE.fvecs` with the queries")
	cmd.Flags().StringVar(&s.Truth, "truth", "", "`FILE.ivecs` with the true neighbours (without it they are computed)")
	cmd.Flags().StringVar(&f.metric, "metric", "cosine", "cosine, inner_product (ip) or l2")
	cmd.Flags().StringVar(&s.Data, "data", "", "data to make: easy, copies, hard, texts or glove (default easy)")
	cmd.Flags().IntVar(&s.N, "n", 0, fmt.Sprintf("vectors (default %d, of files and glove all)", n))
	cmd.Flags().IntVar(&s.Dim, "dim", dataset.DefaultDim, "components of a made vector")
	cmd.Flags().IntVar(&s.NQ, "nq", 0, fmt.Sprintf("queries (default %d, of files and glove all)", dataset.DefaultQueries))
	cmd.Flags().Uint64Var(&s.Seed, "seed", 1, "seed of made data")
}

// open reads or makes the data set; n is the number of vectors that is made without --n.
func (f *dataFlags) open(n int, noTruth bool) (*dataset.Set, error) {
	metric, err := parseMetric(f.metric)
	if err != nil {
		return nil, err
	}
	s := f.source
	s.Metric, s.NoTruth = metric, noTruth
	if s.Base == "" && s.Queries == "" && s.Data == "" {
		s.Data = "easy"
	}
	if s.N == 0 && s.Base == "" && s.Data != "glove" {
		s.N = n
	}
	return dataset.Open(s)
}

// parseMetric also takes the names that other tools use.
func parseMetric(name string) (ann.Metric, error) {
	switch name {
	case "ip", "dot":
		name = ann.InnerProduct.String()
	case "euclidean", "l2sq":
		name = ann.L2.String()
	case "angular", "cos":
		name = ann.Cosine.String()
	}
	return ann.ParseMetric(name)
}

// indexFlags choose among the kinds of index of package ann.
type indexFlags struct {
	kinds, precisions []string
	dir               string
}

func (f *indexFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringSliceVar(&f.kinds, "kind", []string{ann.HNSW.String()}, "kinds of our index to measure")
	cmd.Flags().StringSliceVar(&f.precisions, "precision", []string{ann.Float32.String()}, "precisions of our index to measure")
	cmd.Flags().StringVar(&f.dir, "dir", "", "`DIR` for the files of kind hnsw_disk (default: the temporary folder)")
}

// parse returns every kind with every precision that it can have.
func (f *indexFlags) parse() ([]ann.Options, error) {
	var list []ann.Options
	for _, kindName := range f.kinds {
		kind, err := ann.ParseKind(kindName)
		if err != nil {
			return nil, err
		}
		for _, name := range f.precisions {
			precision, err := ann.ParsePrecision(name)
			if err != nil {
				return nil, err
			}
			o := ann.Options{Kind: kind, Precision: precision, Dim: dataset.DefaultDim}
			if kind == ann.HNSWDisk {
				if o.Dir = f.dir; o.Dir == "" {
					o.Dir = os.TempDir()
				}
			}
			if o.Validate() == nil {
				list = append(list, o)
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no kind in %v can have a precision in %v", f.kinds, f.precisions)
	}
	return list, nil
}

// one returns the index to measure where it can be only one.
func (f *indexFlags) one(m, efc int) (ann.Options, error) {
	list, err := f.parse()
	if err != nil {
		return ann.Options{}, err
	}
	if len(list) != 1 {
		return ann.Options{}, fmt.Errorf("--kind %s and --precision %s are more than one index: name one of each",
			strings.Join(f.kinds, ","), strings.Join(f.precisions, ","))
	}
	o := list[0]
	o.M, o.EfConstruction = m, efc
	return o, nil
}

func newBenchData() *cobra.Command {
	var data dataFlags
	cmd := &cobra.Command{
		Use:   "data DIR",
		Short: "Write a data set to base.fvecs, queries.fvecs and truth.ivecs in a folder",
		Args:  cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			set, err := data.open(dataset.DefaultN, false)
			if err != nil {
				return err
			}
			if err := os.MkdirAll(args[0], 0o755); err != nil {
				return err
			}
			if err := dataset.WriteFvecs(filepath.Join(args[0], "base.fvecs"), set.Base); err != nil {
				return err
			}
			if err := dataset.WriteFvecs(filepath.Join(args[0], "queries.fvecs"), set.Queries); err != nil {
				return err
			}
			return dataset.WriteIvecs(filepath.Join(args[0], "truth.ivecs"), set.Truth)
		},
	}
	data.add(cmd, dataset.DefaultN)
	return cmd
}
